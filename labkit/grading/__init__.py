"""What is it worth? Submissions run in lab machines of their own, and the judge looks at those from outside."""
