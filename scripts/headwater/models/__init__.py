"""Networks and what they answer: encoders, published weights and tasks."""
