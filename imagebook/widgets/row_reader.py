"""What a network that reads digits row by row believes after each row."""
import anywidget
import numpy as np
import traitlets

from .shared import assemble


class RowReader(anywidget.AnyWidget):
    """Uncover a digit row by row, and see the probabilities that recurrent networks give to the classes.

    record: a mapping of arrays, as `np.load` gives it, with
        images: uint8, shape (n, rows, columns);
        labels: their classes, shape (n,);
        names: of the networks;
        probabilities: shape (networks, n, rows, classes), after each row: fractions, or uint8 in 255ths.
    choice: what is shown first: "image" (its number), "network" (a name) and "row" (how many rows are uncovered,
        from 1); by default the first of each, and half of the rows.

    The trait `choice` follows what the reader does; setting it moves the figure.
    Raises ValueError where the record is incomplete or does not fit together.
    """

    _esm, _css = assemble(__file__)
    names = traitlets.List(help="of the networks").tag(sync=True)
    shape = traitlets.List(help="images, rows, columns, classes").tag(sync=True)
    labels = traitlets.List().tag(sync=True)
    pixels = traitlets.CBytes(help="uint8, image after image").tag(sync=True)
    probabilities = traitlets.CBytes(help="uint8, in 255ths").tag(sync=True)
    choice = traitlets.Dict().tag(sync=True)

    def __init__(self, record, choice=None, **traits):
        missing = [name for name in ("images", "labels", "names", "probabilities") if name not in record]
        if missing:
            raise ValueError(f"the record lacks {', '.join(missing)}")
        images, names = np.asarray(record["images"]), [str(name) for name in record["names"]]
        labels, probabilities = np.asarray(record["labels"]).tolist(), np.asarray(record["probabilities"])
        if images.ndim != 3 or images.dtype != np.uint8 or not len(images):
            raise ValueError(f"images must be uint8 of shape (n, rows, columns), not {images.dtype} of {images.shape}")
        expected = (len(names), *images.shape[:2])
        if probabilities.ndim != 4 or probabilities.shape[:3] != expected or len(labels) != len(images):
            raise ValueError(f"probabilities must have the shape {(*expected, 'classes')} and labels {len(images)} entries, "
                             f"not {probabilities.shape} and {len(labels)}")
        if probabilities.dtype != np.uint8:
            if not (np.isfinite(probabilities).all() and probabilities.min() >= 0 and probabilities.max() <= 1):
                raise ValueError("probabilities must be fractions between 0 and 1, or uint8")
            probabilities = np.round(255 * probabilities.astype(float)).astype(np.uint8)
        self._probabilities, self._names = probabilities, names
        first = {"image": 0, "network": names[0], "row": images.shape[1] // 2}
        super().__init__(names=names, shape=[*images.shape, probabilities.shape[-1]], labels=labels,
                         pixels=images.tobytes(), probabilities=probabilities.tobytes(),
                         choice={**first, **(choice or {})}, **traits)

    def __repr__(self):
        return f"RowReader({self.shape[0]} images, {len(self.names)} networks)"

    @traitlets.validate("choice")
    def _in_range(self, proposal):
        """Complete a choice with the present one, and refuse what the figure cannot show."""
        settings = {**self.choice, **proposal["value"]}
        known = {"image": range(self.shape[0]), "network": self._names, "row": range(1, self.shape[1] + 1)}
        for name, value in settings.items():
            if name not in known:
                raise traitlets.TraitError(f"{name!r} is no setting: {', '.join(known)} are")
            if value not in known[name]:
                raise traitlets.TraitError(f"{name} {value!r} is not among {', '.join(map(str, known[name]))}")
        return settings

    def beliefs(self):
        """Return the probabilities after each row for what is chosen, shape (rows, classes), in fractions."""
        return self._probabilities[self._names.index(self.choice["network"]), self.choice["image"]] / 255
