"""What each divergence does to a fit: digits, 8 components, alpha = 0.9, a grid of lambd.

For each fit, on the training rows: reconstruction (nats), mutual information, log det Cov of q(z)
(0 for the prior), and the Gaussian MMD in its standard deviations under q(z) = p(z), whatever D the
fit had. Run it with ``python benchmarks/divergences.py``; about four minutes on one core.
"""

from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler

from sk_infovae import InfoVAETransformer
from sk_infovae.divergences import MMD, Adversarial

DIVERGENCES = {
    "mmd": "mmd",
    "mmd, imq": MMD("imq"),
    "mmd, mixture": MMD(estimator="mixture"),
    "kl": "kl",
    "sliced_wasserstein": "sliced_wasserstein",
    "ksd": "ksd",
    "adversarial": "adversarial",
    "adversarial, no penalty": Adversarial(gradient_penalty=0.0),
}


def main():
    """Print the table."""
    X = load_digits().data
    X = StandardScaler().fit_transform(X[:, X.std(0) > 0.3])
    print("divergence                 lambd  reconstruction      MI  logdet Cov  MMD / deviation")
    for name, divergence in DIVERGENCES.items():
        for lambd in (1, 10, 100, 1000):
            vae = InfoVAETransformer(
                8,
                alpha=0.9,
                lambd=lambd,
                divergence=divergence,
                max_epochs=40,
                n_importance_samples=2,
                random_state=0,
            )
            report = vae.fit(X).information(X)
            print(
                f"{name:25} {lambd:6} {report.reconstruction:15.1f} "
                f"{report.mutual_information:7.2f} {report.logdet_cov:11.2f} "
                f"{report.standardised_mmd:16.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
