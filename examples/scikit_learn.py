"""A search over networks with scikit-learn's own tools: pipeline, grid, cross-validation.

Needs scikit-learn: ``pip install ".[sklearn]"``.
"""

from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from nnext.sklearn import MLPClassifier


def main():
    """Search, look at what was found, and measure it on digits that were held out."""
    x, t = load_digits(return_X_y=True)
    x_train, x_test, t_train, t_test = train_test_split(
        x, t, test_size=0.25, random_state=0, stratify=t
    )
    network = MLPClassifier(
        batch_size=32,
        learning_rate_init=0.003,
        max_iter=500,
        early_stopping=True,  # by the accuracy on a part that each fit sets apart
        dtype="float32",
        random_state=0,
    )
    search = GridSearchCV(
        make_pipeline(MinMaxScaler(), network),
        {
            "mlpclassifier__hidden_layer_sizes": [(50,), (100, 50)],
            "mlpclassifier__dropout": [0.0, 0.2],
        },
        cv=3,
    )
    search.fit(x_train, t_train)
    for params, score in zip(
        search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True
    ):
        shown = ", ".join(f"{name.partition('__')[2]}={value}" for name, value in params.items())
        print(f"{shown}: {score:.3f}")
    print(f"accuracy on the {len(x_test)} digits held out: {search.score(x_test, t_test):.1%}")


if __name__ == "__main__":
    main()
