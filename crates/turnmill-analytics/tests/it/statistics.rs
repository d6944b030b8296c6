//! Statistics against published values.

use turnmill_analytics::statistics::{
    Share, benjamini_hochberg, difference_interval, jensen_shannon, percentile, pooled_p,
};

/// The eight contrasts of table II of Newcombe, Interval estimation for the difference between
/// independent proportions, Statistics in Medicine 17 (1998), method 10.
#[test]
fn newcombes_interval_is_that_of_his_table() {
    let contrasts = [
        ((56, 70), (48, 80), (0.0524, 0.3339)),
        ((9, 10), (3, 10), (0.1705, 0.8090)),
        ((6, 7), (2, 7), (0.0582, 0.8062)),
        ((5, 56), (0, 29), (-0.0381, 0.1926)),
        ((0, 10), (0, 20), (-0.1611, 0.2775)),
        ((0, 10), (0, 10), (-0.2775, 0.2775)),
        ((10, 10), (0, 20), (0.6791, 1.0)),
        ((10, 10), (0, 10), (0.6075, 1.0)),
    ];
    for ((n1, d1), (n2, d2), (low, high)) in contrasts {
        let interval = difference_interval(Share { n: n2, d: d2 }, Share { n: n1, d: d1 }).unwrap();
        let near = |found: f64, published: f64| (found / 100.0 - published).abs() < 0.000_051;
        assert!(near(interval.0, low) && near(interval.1, high), "{n1}/{d1} - {n2}/{d2}: {interval:?}");
    }
    assert_eq!(difference_interval(Share { n: 0, d: 0 }, Share { n: 1, d: 2 }), None);
}

/// The fifteen p-values of the example of Benjamini and Hochberg, Controlling the false discovery
/// rate, Journal of the Royal Statistical Society B 57 (1995), section 4.1.
#[test]
fn the_procedure_rejects_what_its_authors_do() {
    let published = [
        0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719,
        0.6528, 0.7590, 1.0,
    ];
    let rejected = |rate| benjamini_hochberg(&published, rate).into_iter().filter(|mark| *mark).count();
    assert_eq!(rejected(0.05), 4, "as in the paper");
    assert_eq!(rejected(0.1), 9);
    // A value that fails its own rank is rejected when a greater one passes.
    assert_eq!(benjamini_hochberg(&[0.09, 0.095, 0.5], 0.15), [true, true, false]);
    assert!(benjamini_hochberg(&[], 0.1).is_empty());
}

#[test]
fn the_pooled_test_is_the_square_root_of_chi_square() {
    // Chi-square of 1.96 squared has p 0.05.
    let p = pooled_p(Share { n: 50, d: 100 }, Share { n: 63, d: 100 }).unwrap();
    let chi: f64 = 200.0 * (50.0 * 37.0 - 63.0 * 50.0_f64).powi(2) / (100.0 * 100.0 * 113.0 * 87.0);
    assert!((chi - 3.4381).abs() < 0.0001);
    // Upper tail of chi-square with one degree of freedom at 3.4381.
    assert!((p - 0.063_710).abs() < 0.000_05, "{p}");
    assert_eq!(pooled_p(Share { n: 0, d: 20 }, Share { n: 0, d: 30 }), Some(1.0));
    assert_eq!(pooled_p(Share { n: 0, d: 0 }, Share { n: 0, d: 30 }), None);
}

#[test]
fn percentiles_are_those_of_postgresql() {
    // SELECT percentile_cont(ARRAY[0, 0.5, 0.9, 1]) WITHIN GROUP (ORDER BY x) of 10, 20, 30, 100.
    let values = [10.0, 20.0, 30.0, 100.0];
    let at = |p| percentile(&values, p).unwrap();
    assert_eq!([at(0.0), at(0.5), at(1.0)], [10.0, 25.0, 100.0]);
    assert!((at(0.9) - 79.0).abs() < 1e-12);
    assert_eq!(percentile(&[7.0], 0.99), Some(7.0));
}

#[test]
fn the_distance_of_distributions_is_from_zero_to_one() {
    assert_eq!(jensen_shannon(&[1, 2, 3], &[2, 4, 6]), Some(0.0));
    assert_eq!(jensen_shannon(&[5, 0], &[0, 9]), Some(1.0));
    // Of (1/2, 1/2) and (1, 0): 1 - 3/4 log2 3 + 1/2 = 0.311278.
    assert!((jensen_shannon(&[1, 1], &[3, 0]).unwrap() - 0.311_278_f64.sqrt()).abs() < 1e-6);
    assert_eq!(jensen_shannon(&[0, 0], &[3, 0]), None);
}
