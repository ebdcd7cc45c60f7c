"""Looks back at runs: finds run directories, reads what they hold, compares and clears them. `primus runs` and
`primus report` call it."""
