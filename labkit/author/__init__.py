"""Does the course hold? Exercises made from solutions, and the exercise law. Alone here nbgrader may be imported."""
