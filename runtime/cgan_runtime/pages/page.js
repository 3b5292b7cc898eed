"use strict";
// Without this script everything on a page can be seen; with it the samples of a run have a slider, and commands a
// button to copy them.
document.documentElement.classList.add("js");

const large = [...document.querySelectorAll(".frames > figure")].reverse();
const small = [...document.querySelectorAll(".strip a")];
const slider = document.querySelector(".slide input");

function show(number) {
  large.forEach((figure, place) => figure.classList.toggle("shown", place === number));
  small.forEach((link, place) => {
    if (place === number) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  });
  if (slider) {
    slider.value = number;
    slider.setAttribute("aria-valuetext", small[number].textContent.trim() + " images");
    small[number].parentElement.scrollLeft = small[number].offsetLeft - 120;
  }
}

if (slider) slider.addEventListener("input", () => show(Number(slider.value)));
small.forEach((link, number) => link.addEventListener("click", event => {
  event.preventDefault();
  show(number);
}));
if (large.length) show(large.length - 1);

for (const block of document.querySelectorAll("pre")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    const code = block.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    } catch {  // a browser that does not let us: the text is selected instead
      getSelection().selectAllChildren(code);
    }
  });
  block.append(button);
}
