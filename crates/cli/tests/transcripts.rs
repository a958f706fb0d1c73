//! Every verb as a person sees it: what is typed, what is said, and the exit status.
//!
//! Keys and digests differ from run to run and stand as `[..]`. Verbs that need a broker show here what they say without one;
//! what they do with one is shown by the stories over real processes. `TRYCMD=overwrite` writes the transcripts anew.

#[test]
fn commands_say_what_their_transcripts_show() {
    trycmd::TestCases::new().env("NO_COLOR", "1").env("GLOVEBOX_HOME", "home").case("tests/transcripts/*.trycmd");
}
