"""Deliberate breaks: draws them from the syntax trees and says which of them no test notices (`make mutants`)."""
