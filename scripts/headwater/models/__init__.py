"""Networks: encoders, published weights and the tasks that networks are trained on."""
