"""Gradient descent with momentum on a quadratic bowl, where everything is known in closed form."""
import anywidget
import numpy as np
import traitlets

from .shared import assemble

METHODS = ("heavy ball", "Nesterov")
CONDITIONS = (1, 2, 5, 10, 20, 50, 100)
LIMITS = {"learning_rate": (0.0, 4.0), "momentum": (0.0, 0.99), "x": (-1.0, 1.0), "y": (-1.0, 1.0)}
STEPS = 200  # that the figure shows


class QuadraticDescent(anywidget.AnyWidget):
    """Move learning rate and momentum, and see gradient descent creep, ring, settle or run away.

    The loss is L(x, y) = (x² / κ + y²) / 2: its steep direction has the second derivative 1, its flat one 1 / κ, and
    κ is the condition number. A step is that of `keras.optimizers.SGD(learning_rate, momentum, nesterov)`, from rest.

    choice: what is shown first: "method" ("heavy ball" or "Nesterov"), "condition" (κ: 1, 2, 5, 10, 20, 50 or 100),
        "learning_rate" (0 to 4), "momentum" (0 to 0.99), and the start "x", "y" (-1 to 1).

    The trait `choice` follows what the reader does; setting it moves the figure. `path()` and `factors()` are what is
    drawn. Raises traitlets.TraitError where the figure cannot show a choice.
    """

    _esm, _css = assemble(__file__)
    options = traitlets.Dict({"method": list(METHODS), "condition": list(CONDITIONS)}).tag(sync=True)
    limits = traitlets.Dict({name: list(ends) for name, ends in LIMITS.items()}).tag(sync=True)
    steps = traitlets.Int(STEPS).tag(sync=True)
    choice = traitlets.Dict().tag(sync=True)

    def __init__(self, choice=None, **traits):
        first = {"method": METHODS[0], "condition": 20, "learning_rate": 1.0, "momentum": 0.0, "x": -0.9, "y": 0.7}
        super().__init__(choice={**first, **(choice or {})}, **traits)

    def __repr__(self):
        return "QuadraticDescent()"

    @traitlets.validate("choice")
    def _in_range(self, proposal):
        """Complete a choice with the present one, and refuse what the figure cannot show."""
        settings = {**self.choice, **proposal["value"]}
        for name, value in settings.items():
            if name in self.options and value not in self.options[name]:
                raise traitlets.TraitError(f"{name} {value!r} is not among {', '.join(map(str, self.options[name]))}")
            if name not in self.options and name not in LIMITS:
                raise traitlets.TraitError(f"{name!r} is no setting: {', '.join([*self.options, *LIMITS])} are")
            if name in LIMITS and not LIMITS[name][0] <= value <= LIMITS[name][1]:
                raise traitlets.TraitError(f"{name} must lie between {LIMITS[name][0]} and {LIMITS[name][1]}")
        return settings

    @property
    def curvatures(self):
        """Second derivatives of the loss in the flat and in the steep direction, shape (2,)."""
        return np.array([1 / self.choice["condition"], 1.0])

    def path(self):
        """Return where the steps lead, shape (201, 2): x and y before the first step and after each of 200."""
        rate, momentum = self.choice["learning_rate"], self.choice["momentum"]
        place, speed = np.array([self.choice["x"], self.choice["y"]]), np.zeros(2)
        places = [place]
        for _ in range(self.steps):
            gradient = self.curvatures * place
            speed = momentum * speed - rate * gradient
            place = place + (momentum * speed - rate * gradient if self.choice["method"] == "Nesterov" else speed)
            places.append(place)
        return np.array(places)

    def factors(self):
        """Return by what the distance shrinks in a step, in the long run, in the flat and the steep direction.

        It is the larger modulus of the two roots of r² - a r + b, with a = 1 + μ - ηλ and b = μ for the heavy ball
        (Polyak 1964), and a = (1 + μ)(1 - ηλ), b = μ(1 - ηλ) for Nesterov's momentum.
        """
        rate, momentum = self.choice["learning_rate"], self.choice["momentum"]
        shrink = 1 - rate * self.curvatures
        if self.choice["method"] == "Nesterov":
            a, b = (1 + momentum) * shrink, momentum * shrink
        else:
            a, b = momentum + shrink, momentum * np.ones(2)
        root = np.sqrt((a**2 - 4 * b).astype(complex))
        return np.maximum(np.abs(a + root), np.abs(a - root)) / 2
