"""`make figures`: the planner's figures, from simulations."""
