"""References: what published studies reached, to stand beside what is found here."""
