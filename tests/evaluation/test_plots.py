import numpy as np
import pytest

from prlhf.errors import DataError
from prlhf.evaluation import plots
from prlhf.evaluation.bootstrap import Estimate
from prlhf.evaluation.by_user import PerUser
from prlhf.evaluation.winrate import win_rate


def users(own, generic, names=None, groups=None, seen=None):
    n = len(own)
    own, generic = np.array(own, dtype=float), np.array(generic, dtype=float)
    return PerUser(
        user=np.array(names or [f"u{i}" for i in range(n)], dtype=object),
        group=np.array(groups or [None] * n, dtype=object),
        seen=np.array(seen or [True] * n),
        comparisons=np.ones(n, dtype=np.int64),
        accuracy=own,
        accuracy_generic=generic,
        accuracy_permuted=own,
        log_loss=own,
        margin=own,
    )


def title(figure):
    return figure.get_suptitle().replace("\n", " ")


def texts(figure):
    from matplotlib.text import Text

    return [t.get_text() for t in figure.findobj(Text) if t.get_text()]


def test_the_title_counts_the_users_that_gain():
    table = users([0.9, 0.6, 0.7, 0.1], [0.5, 0.6, 0.8, 0], groups=["x", "x", "y", "y"], seen=[True, True, True, False])
    figure = plots.per_user_accuracy(table)
    assert title(figure) == "1 of 3 users are predicted better by their own row than by the generic one"
    assert {"x (2 users)", "y (1 user)", "u0", "own row"} <= set(texts(figure))
    assert "u3" not in texts(figure)


def test_a_pooled_model_is_matched_by_user():
    figure = plots.per_user_accuracy(users([0.9, 0.8], [0.5, 0.5]), users([0.25, 0.125], [0, 0], names=["u1", "other"]))
    # From left to right u1 and u0, of whom the pooled table knows u1 only.
    pooled = figure.axes[0].collections[-1].get_offsets()
    assert pooled[0].tolist() == [0, 0.25]
    assert np.ma.is_masked(pooled[1][1]) or np.isnan(pooled[1][1])


def test_any_user_id_can_be_drawn():
    names = ["$x$", "$\\frac$", "你好", "😀" * 40, "<b>&"]
    figure = plots.per_user_accuracy(users([0.5] * 5, [0.5] * 5, names=names, groups=["$", None, "$", None, "$"]))
    assert b"<svg" in plots.to_svg(figure)
    assert plots.to_png(figure).startswith(b"\x89PNG")


def test_many_users_carry_no_names():
    figure = plots.per_user_accuracy(users(np.linspace(0, 1, 300), np.full(300, 0.5)))
    assert "u0" not in texts(figure)
    assert "300 users" in texts(figure)


def test_the_same_figure_gives_the_same_bytes():
    one, two = (plots.to_svg(plots.per_user_accuracy(users([0.9], [0.5]))) for _ in range(2))
    assert one == two


def test_pyplot_is_left_alone():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    plots.to_png(plots.per_user_accuracy(users([0.9], [0.5])), dpi=30)
    assert dict(mpl.rcParams) == before


def test_curves_are_read_from_a_metrics_file(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        '{"step": 1, "loss": 0.7}\n{"step": 2, "accuracy_seen": 0.5}\n\n{"step": 4, "accuracy_seen": 0.7}\n'
        '{"step": 2, "accuracy_seen": 0.6}\n{"accuracy_seen": 1}\n{"step": 9, "accuracy_seen": null}\n'
    )
    curves = plots.read_curves(path, {"seen": "accuracy_seen", "nothing": "accuracy_other"})
    assert list(curves) == ["seen"]
    assert (curves["seen"].x, curves["seen"].y) == ([2, 4], [0.6, 0.7])
    path.write_text('{"step": 1}\n{"step":')
    with pytest.raises(DataError, match=r"metrics\.jsonl, line 2"):
        plots.read_curves(path, {})


def test_a_standard_error_becomes_a_band(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "a": 0.5, "a_se": 0.1}\n{"step": 2, "a": 0.75, "a_se": 0.25, "b": 1.0}\n')
    curves = plots.read_curves(path, {"own": "a", "other": "b"})
    assert (curves["own"].low, curves["own"].high) == ([0.4, 0.5], [0.6, 1.0])
    assert curves["other"].low is None


def test_learning_curves_say_where_they_end():
    curves = {"seen": plots.Curve([1, 2], [0.5, 0.9], [0.4, 0.8], [0.6, 1.0]), "generic": plots.Curve([1], [0.6])}
    figure = plots.learning_curves(curves, target=0.9)
    assert title(figure) == "At the end, highest: seen (0.90); lowest: generic (0.60)"
    assert title(plots.learning_curves({"seen": curves["seen"]})) == "At the end: seen 0.90"
    assert "target 0.9" in texts(figure)


def test_win_rate_bars_add_up():
    rates = {"SFT": win_rate([1, 1, 0], ["a", "a", "b"]), "oracle": win_rate([-1, -1], ["a", "b"])}
    figure = plots.win_rate_bars(rates)
    assert title(figure) == "Preferred more often than not to 1 of 2 opponents"
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    assert widths == pytest.approx([2 / 3, 1 / 3, 0, 0, 0, 1])
    # The mean over users: a wins always, b ties.
    assert "0.75" in texts(figure)
    assert title(plots.win_rate_bars({"SFT": rates["SFT"]})) == "Preferred to SFT in 75% of the answers (ties half)"


def test_profile_bars_count_what_reaches_the_target():
    values = {"P1A": {"P-DPO": Estimate(0.9, 0.8, 1.0), "pooled": 0.4}, "P1B": {"P-DPO": 0.7}}
    figure = plots.profile_bars(values, target=0.8)
    assert title(figure) == "P-DPO: 1 of 2 profiles reach 0.8; lowest is P1B, 0.70"
    assert sorted(bar.get_height() for bar in figure.axes[0].patches) == [0.4, 0.7, 0.9]
    assert title(plots.profile_bars(values)) == "P-DPO: accuracy is lowest for P1B, 0.70"


def test_save_by_ending(tmp_path):
    figure = plots.profile_bars({"a": {"x": 0.5}})
    plots.save(figure, tmp_path / "plots" / "a.svg")
    plots.save(figure, tmp_path / "plots" / "a.png")
    assert (tmp_path / "plots" / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(DataError, match=r"'\.pdf', expected \.png or \.svg"):
        plots.save(figure, tmp_path / "a.pdf")


@pytest.mark.parametrize(
    "empty",
    [
        lambda: plots.per_user_accuracy(users([0.5], [0.5], seen=[False])),
        lambda: plots.learning_curves({}),
        lambda: plots.win_rate_bars({}),
        lambda: plots.profile_bars({"a": {}}),
    ],
)
def test_nothing_to_draw_is_an_error(empty):
    with pytest.raises(DataError, match="expected at least one"):
        empty()


def test_long_names_stay_inside_the_picture_and_seven_curves_have_seven_colours():
    names = [f"user_model.type=cluster, user_model.clusters={k}" for k in range(7)]
    figure = plots.learning_curves({name: plots.Curve([0, 1], [0.5, 0.6]) for name in names})
    figure.canvas.draw()
    [legend] = figure.legends
    assert legend.get_window_extent().x1 <= figure.bbox.x1
    assert len({line.get_color() for line in figure.axes[0].get_lines()}) == 7
