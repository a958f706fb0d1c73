//! The part of the benchmark that is a test: sealed and guarded, all 22 queries give what the stock engine gives on plain files.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

#[tokio::test(flavor = "multi_thread")]
async fn all_22_results_are_equal_at_scale_one_hundredth() {
    let folder = tempfile::tempdir().unwrap();
    bench::tpch::compare(0.01, folder.path()).await.unwrap_or_else(|error| panic!("{error}"));
}
