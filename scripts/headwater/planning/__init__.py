"""What a study will take, takes and took: prices, power, status."""
