"""What SciPy, statsmodels and mpmath make of the cases that tests/oracle.rs compares with, as
tests/oracle.json beside this file:

    python3 -m venv oracle && oracle/bin/pip install \
        mpmath==1.4.1 numpy==2.4.6 scipy==1.17.1 statsmodels==0.15.0
    oracle/bin/python runtime-host/experiment-statistics/tests/oracle.py

Where this crate has a closed form, the number here is found in another way: integrals of
mixtures, roots of inequalities, residuals of ratios.
"""

import json
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
from scipy import optimize, special, stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import NormalIndPower

mpmath.mp.dps = 40
Json = dict[str, Any]


def student_beyond(t: float, degrees: float) -> float:
    """By the density's integral, with the constant of exact Gamma functions."""
    half = mpmath.mpf(degrees) / 2
    constant = mpmath.gamma(half + 0.5) / mpmath.gamma(half) / mpmath.sqrt(mpmath.pi * degrees)
    step = mpmath.mpf(1) / max(t, 1)
    points = [mpmath.mpf(t) + step * at for at in (0, 1, 2, 4, 8, 16, 32, 64, 128, 512)] + [mpmath.inf]
    density = lambda x: mpmath.exp(-(half + 0.5) * mpmath.log1p(x * x / degrees))  # noqa: E731
    return float(2 * constant * mpmath.quad(density, points))


def distributions() -> Json:
    student = [(t, n) for n in (1.0, 2.5, 9.0, 100.0, 1e4, 1e6, 1e8) for t in (0.1, 1.0, 1.96, 4.0, 12.0)]
    quantiles = [(p, n) for n in (1.0, 2.5, 9.0, 100.0, 1e4, 1e6) for p in (0.5, 0.05, 0.001, 1e-6)]
    chi = [(x, n) for n in (1.0, 2.0, 5.0, 19.0) for x in (0.01, 1.0, 4.0, 30.0, 400.0)]
    beta = [
        (0.3, 10.0, 20.0), (0.5, 500.0, 601.0), (0.45, 5e5, 6e5), (0.5, 5.01e6, 5e6), (0.001, 0.5, 0.5),
        (1e-6, 1.0, 1e6), (0.5, 3.0, 1.0), (0.9, 40.0, 2.0),
    ]  # fmt: skip
    beta_quantiles = [(0.025, 10.0, 20.0), (0.975, 501.0, 601.0), (0.025, 5e4, 6e4), (0.005, 1.0, 30.0)]
    return {
        "normal_above": [[z, float(stats.norm.sf(z))] for z in (-3.0, 0.0, 0.5, 1.96, 6.0, 20.0, 37.0)],
        "normal_quantile_above": [[p, float(stats.norm.isf(p))] for p in (1e-200, 1e-9, 0.025, 0.2, 0.4, 0.7, 0.999)],
        "student_beyond": [[t, n, student_beyond(t, n)] for t, n in student],
        "student_quantile_beyond": [[p, n, float(stats.t.isf(p / 2, n))] for p, n in quantiles],
        "chi_square_above": [[x, n, float(stats.chi2.sf(x, n))] for x, n in chi],
        "beta_below": [[x, a, b, float(special.betainc(a, b, x))] for x, a, b in beta],
        "beta_quantile": [[p, a, b, float(special.betaincinv(a, b, p))] for p, a, b in beta_quantiles],
        "stirling_error": [
            [z, float(mpmath.loggamma(z) - ((z - mpmath.mpf(0.5)) * mpmath.log(z) - z + mpmath.log(2 * mpmath.pi) / 2))]
            for z in (0.5, 1.0, 7.5, 15.9, 16.0, 100.0, 1e6)
        ],
        "entropy_excess": [
            [x, float((1 + mpmath.mpf(x)) * mpmath.log1p(x) - x)] for x in (-0.9, -0.05, -1e-5, 1e-9, 0.03, 0.06, 2.0)
        ],
    }


def users(random: np.random.Generator, count: int, rate: float) -> Json:
    """Clicks and impressions of users, each with a rate of their own."""
    impressions = 1 + random.negative_binomial(2, 0.15, count)
    clicks = random.binomial(impressions, random.beta(rate * 5, (1 - rate) * 5, count))
    return {"clicks": clicks.tolist(), "impressions": impressions.tolist()}


def mean(group: Json) -> tuple[float, float]:
    x = np.array(group["clicks"], float)
    return float(x.mean()), float(np.var(x, ddof=1) / len(x))


def ratio(group: Json) -> tuple[float, float]:
    """The ratio of sums, and its variance by the residuals of users."""
    x, y = np.array(group["clicks"], float), np.array(group["impressions"], float)
    value = x.sum() / y.sum()
    return float(value), float(np.var((x - value * y) / y.mean(), ddof=1) / len(x))


def welch(v1: float, n1: int, v2: float, n2: int) -> tuple[float, float]:
    """The variance of a difference, and its degrees of freedom."""
    return v1 + v2, (v1 + v2) ** 2 / (v1**2 / (n1 - 1) + v2**2 / (n2 - 1))


def fieller(treatment: tuple[float, float], control: tuple[float, float], critical: float) -> list[float]:
    """The lifts at which treatment - (1 + lift) control is as far from 0 as may be."""
    (t, vt), (c, vc) = treatment, control

    def beyond(lift: float) -> float:
        return (t - (1 + lift) * c) ** 2 - critical**2 * (vt + (1 + lift) ** 2 * vc)

    centre = t / c - 1
    return [optimize.brentq(beyond, *ends, xtol=1e-15, rtol=1e-14) for ends in ((-1, centre), (centre, centre + 20))]


def mixture(value: float, variance: float, mixing: float, null: float) -> mpmath.mpf:
    """The likelihood ratio of effects that are normal around `null`, by its integral."""
    value, variance, mixing = mpmath.mpf(value), mpmath.mpf(variance), mpmath.mpf(mixing)
    spread = mpmath.sqrt(variance * mixing / (variance + mixing))
    peak = null + (value - null) * mixing / (variance + mixing)

    def integrand(effect: mpmath.mpf) -> mpmath.mpf:
        against = ((value - null) ** 2 - (value - effect) ** 2) / (2 * variance)
        return mpmath.exp(against - (effect - null) ** 2 / (2 * mixing)) / mpmath.sqrt(2 * mpmath.pi * mixing)

    return mpmath.quad(integrand, [peak + spread * at for at in (-40, -12, -6, -3, -1, 0, 1, 3, 6, 12, 40)])


def anytime(value: float, variance: float, mixing: float, alpha: float) -> Json:
    """The always-valid p-value at a first look, and all effects whose ratio is at most 1 / alpha."""
    above = lambda null: mpmath.log(mixture(value, variance, mixing, null)) + mpmath.log(alpha)  # noqa: E731
    error = mpmath.sqrt(variance)
    low, high = (
        mpmath.findroot(above, (value + side * error, value + 8 * side * error), solver="anderson", tol=1e-25)
        for side in (-1, 1)
    )
    m = mixing / variance
    one_sided = np.sqrt(2 * variance * (1 + 1 / m) * np.log(1 + np.sqrt(1 + m) / (2 * alpha)))
    return {
        "value": value,
        "variance": variance,
        "mixing": mixing,
        "alpha": alpha,
        "p_value": float(min(1, 1 / mixture(value, variance, mixing, 0))),
        "interval": [float(low), float(high)],
        "one_sided": [value - one_sided, value + one_sided],
    }


def confidence_sequence(users: int, spread: float, rho: float, alpha: float) -> float:
    """Half of the interval of Waudby-Smith et al., theorem 2.2, of standardised rho."""
    more = users * rho**2 + 1
    return float(spread * np.sqrt(2 * more / (users**2 * rho**2) * np.log(np.sqrt(more) / alpha)))


def comparison(random: np.random.Generator) -> Json:
    control, treatment = users(random, 140, 0.2), users(random, 110, 0.3)
    test = stats.ttest_ind(treatment["clicks"], control["clicks"], equal_var=False)
    interval = test.confidence_interval(0.95)
    found: dict[str, Json] = {}
    for name, of in {"mean": mean, "ratio": ratio}.items():
        (t, vt), (c, vc) = of(treatment), of(control)
        variance, degrees = welch(vt, 110, vc, 140)
        critical = float(stats.t.isf(0.025, degrees))
        half = critical * np.sqrt(variance)
        found[name] = {
            "treatment": [t, vt],
            "control": [c, vc],
            "difference": t - c,
            "interval": [t - c - half, t - c + half],
            "p_value": float(2 * stats.t.sf(abs(t - c) / np.sqrt(variance), degrees)),
            "lift": fieller((t, vt), (c, vc), critical),
        }
    found["mean"] |= {"interval": [float(interval.low), float(interval.high)], "p_value": float(test.pvalue)}
    return {"control": control, "treatment": treatment, **found}


def mismatch(observed: list[int], ratios: list[float]) -> Json:
    concentration = 1000
    shares = [mpmath.mpf(ratio) / mpmath.fsum(ratios) for ratio in ratios]
    total = sum(observed)
    test = stats.chisquare(observed, [float(total * share) for share in shares])
    factor = mpmath.loggamma(concentration) - mpmath.loggamma(concentration + total)
    for count, share in zip(observed, shares, strict=True):
        prior = concentration * share
        factor += mpmath.loggamma(prior + count) - mpmath.loggamma(prior) - count * mpmath.log(share)
    return {
        "users": observed,
        "ratios": ratios,
        "statistic": float(test.statistic),
        "p_value": float(test.pvalue),
        "log_bayes_factor": float(factor),
    }


def plan(effect: float, deviation: float, alpha: float, power: float, treatment_share: float) -> Json:
    """Users for one look by statsmodels, and the same solved for the critical value of any look."""
    ratio = treatment_share / (1 - treatment_share)
    solve = lambda alpha: NormalIndPower().solve_power(  # noqa: E731
        abs(effect) / deviation, alpha=alpha, power=power, ratio=ratio, alternative="larger"
    )
    best = float(-special.lambertw(-(alpha**2) / np.e, -1).real - 1)
    once, always = float(solve(alpha / 2)), float(solve(stats.norm.sf(np.sqrt(1 + best))))
    return {
        "effect": effect,
        "variance": deviation**2,
        "alpha": alpha,
        "power": power,
        "treatment_share": treatment_share,
        "once": [int(np.ceil(once)), int(np.ceil(once * ratio))],
        "anytime": [int(np.ceil(always)), int(np.ceil(always * ratio))],
        "mixing": best * (effect / (np.sqrt(1 + best) + stats.norm.isf(1 - power))) ** 2,
    }


def signs(treatment: int, control: int) -> Json:
    test = stats.binomtest(treatment, treatment + control)
    interval = test.proportion_ci(0.95, "exact")
    return {
        "treatment": treatment,
        "control": control,
        "p_value": float(test.pvalue),
        "interval": [float(interval.low), float(interval.high)],
    }


def preferences(treatment: int, control: int, mixing: float, alpha: float) -> Json:
    """The likelihood ratio of shares from Beta(a, a), by its integral, and all shares where it is
    at most 1 / alpha."""
    a = (mpmath.mpf(1) / (4 * mixing) - 1) / 2
    # The integrand of a and of the votes has its peak at their mean.
    peak = (a + treatment) / (2 * a + treatment + control)
    spread = mpmath.sqrt(peak * (1 - peak) / (2 * a + treatment + control))
    points = sorted({0, *(min(max(peak + spread * at, 0), 1) for at in range(-15, 16)), 1})
    top = treatment * mpmath.log(peak) + control * mpmath.log(1 - peak)

    def density(share: mpmath.mpf) -> mpmath.mpf:
        if not 0 < share < 1:
            return mpmath.mpf(0)
        prior = (a - 1) * (mpmath.log(share) + mpmath.log(1 - share))
        return mpmath.exp(prior + treatment * mpmath.log(share) + control * mpmath.log(1 - share) - top)

    marginal = mpmath.log(mpmath.quad(density, points)) - mpmath.log(mpmath.beta(a, a)) + top

    def ratio(share: mpmath.mpf) -> mpmath.mpf:
        return marginal - treatment * mpmath.log(share) - control * mpmath.log(1 - share)

    above = lambda share: ratio(share) + mpmath.log(alpha)  # noqa: E731
    centre, tiny = mpmath.mpf(treatment) / (treatment + control), mpmath.mpf(10) ** -30
    root = lambda *ends: float(mpmath.findroot(above, ends, solver="anderson", tol=1e-25))  # noqa: E731
    return {
        "treatment": treatment,
        "control": control,
        "mixing": mixing,
        "alpha": alpha,
        "p_value": float(min(1, mpmath.exp(-ratio(mpmath.mpf(1) / 2)))),
        "interval": [
            root(tiny, min(centre, 1 - tiny)) if treatment else 0.0,
            root(max(centre, tiny), 1 - tiny) if control else 1.0,
        ],
    }


def credits(random: np.random.Generator) -> Json:
    treatment, control = random.poisson(1.3, 80), random.poisson(1.0, 80)
    test = stats.ttest_1samp(treatment - control, 0)
    interval = test.confidence_interval(0.95)
    return {
        "treatment": treatment.tolist(),
        "control": control.tolist(),
        "value": float(np.mean(treatment - control)),
        "p_value": float(test.pvalue),
        "interval": [float(interval.low), float(interval.high)],
    }


def counterfactual(random: np.random.Generator, clip: float | None) -> Json:
    impressions = []
    for user in range(60):
        for _ in range(1 + random.poisson(4)):
            logged, target = float(random.uniform(0.05, 1)), float(random.uniform(0, 1))
            impressions.append([user, float(random.uniform() < 0.3), logged, target])
    user, reward, logged, target = np.array(impressions).T
    full = target / logged
    weight = full if clip is None else np.minimum(full, clip)
    sums = [np.bincount(user.astype(int), of) for of in (weight * reward, weight, np.ones_like(weight))]
    of = lambda x, y: list(ratio({"clicks": x, "impressions": y}))  # noqa: E731
    return {
        "impressions": impressions,
        "clip": clip,
        "ips": of(sums[0], sums[2]),
        "snips": of(sums[0], sums[1]),
        "clipped": int((full > weight).sum()),
        "mean": float(weight.mean()),
        "lost": float((full - weight).mean()),
        "effective": float(weight.sum() ** 2 / (weight**2).sum()),
    }


def main() -> None:
    random = np.random.default_rng(42)
    p_values = [0.01, 0.04, 0.03, 0.005, 0.7, 0.03, 1.0]
    written = {
        "distributions": distributions(),
        "comparison": comparison(random),
        "anytime": [
            anytime(0.02, 1e-4, 5e-4, 0.05),
            anytime(-0.05, 1e-4, 3e-5, 0.01),
            anytime(1.0, 0.04, 10.0, 0.2),
            anytime(300.0, 2500.0, 2500.0, 0.05),
        ],
        "confidence_sequence": [
            [n, spread, rho, alpha, confidence_sequence(n, spread, rho, alpha)]
            for n, spread, rho, alpha in ((200, 3.0, 0.1, 0.05), (100_000, 0.2, 0.01, 0.01), (1000, 40.0, 1.5, 0.1))
        ],
        "mismatch": [
            mismatch([520, 480], [1.0, 1.0]),
            mismatch([50_000, 50_600, 24_500], [2.0, 2.0, 1.0]),
            mismatch([1_000_400, 999_600], [0.5, 0.5]),
            mismatch([5_200_000, 4_800_000], [50.0, 50.0]),
        ],
        "plan": [plan(0.1, 1.3, 0.05, 0.8, 0.5), plan(-0.02, 0.9, 0.01, 0.9, 0.2), plan(5.0, 20.0, 0.1, 0.5, 0.75)],
        "holm": [p_values, multipletests(p_values, method="holm")[1].tolist()],
        "signs": [signs(60, 40), signs(0, 12), signs(7, 7), signs(51_200, 48_800)],
        "preferences": [
            preferences(60, 40, 0.002, 0.05),
            preferences(0, 12, 0.01, 0.05),
            preferences(7, 7, 0.05, 0.1),
            preferences(51_200, 48_800, 0.0005, 0.01),
        ],
        "credits": credits(random),
        "counterfactual": [counterfactual(random, None), counterfactual(random, 3.0)],
    }
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(written, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
