"""What happened in runs, as one HTML page that needs nothing else, as CSV, and as a plot in the terminal.
`primus report` calls it; page/ holds the page's template, style and scripts."""
