"""A declared neuron whose threshold falls, in a straight line, from θ at the first step to last·θ at step T.

What is left in the membrane is so rounded to the nearest spike, more and more, as time runs out.
"""

from nspike import Method, Neuron, Parameter, hookimpl


def fire(parameters, step, timesteps):
    """1 at step 1, `last` at step T."""
    if timesteps == 1:
        return parameters["last"]
    return 1.0 + (parameters["last"] - 1.0) * (step - 1) / (timesteps - 1)


NEURON = Neuron(
    name="falling",
    summary="integrate-and-fire with a threshold that falls from step to step",
    source="the tests of nspike",
    parameters=(
        Parameter("last", 0.5, 0.0, 1.0, "threshold of the last step, as a fraction of θ", open_low=True),
        Parameter("v_init", 0.0, -1.0, 1.0, "initial membrane as a fraction of the threshold"),
    ),
    fire=fire,
)


@hookimpl
def register_neurons(register):
    """Register the neuron."""
    register(NEURON)


@hookimpl
def register_methods(register):
    """Register the method: the usual scales, and this neuron."""
    register(
        Method(
            name="falling-threshold",
            summary="a threshold that falls from step to step",
            source="the tests of nspike",
            neuron="falling",
            neuron_parameters={"last": 0.5},
            timesteps=4,
        )
    )
