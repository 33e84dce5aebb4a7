"""What people read: tables, figures, the page, and where each number comes from."""
