"""Audit a fitted scikit-learn model: three lines once the model and its data are there."""

from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

import vestige

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, random_state=0)
clf = RandomForestClassifier(n_estimators=30, random_state=0).fit(X_train, y_train)

log = vestige.audit(clf, X_train, y_train, X_test, y_test, shadow=16)
log.report("audits/forest.html")
print(log.summary())
