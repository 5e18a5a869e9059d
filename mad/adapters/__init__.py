"""The detector inside other people's harnesses; each module needs the library it is named after.

    sklearn       an outlier estimator: pipelines, cross-validation, grid search
    pyod          a PyOD detector
    pytorch_ood   a pytorch-ood detector
    cupbearer     a cupbearer detector, term by term
    inspect_ai    an Inspect scorer, and AUROC as a metric

Nothing is imported until a module is asked for by name. All of them call `mad.Detector.score`, so
they give its bits; which way they point, and what a threshold rests on, is said in each.

    fitted        what those without parameters of their own share: fitting, and rows out of data
    rows          flattened inputs in the shape the network takes
"""
