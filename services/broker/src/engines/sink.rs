/// Where an engine reports what it is doing. Calls are cheap and never block: whoever implements it does the throttling.
pub trait Sink: Send + Sync + 'static {
    /// How far the job is, 0 to 100, with a few words for people.
    fn progress(&self, percent: u8, message: &str);

    /// The next piece of the text that is being made. The pieces of a job, put together, are its `text`.
    fn chunk(&self, text: &str);
}

/// Hears nothing.
pub struct NullSink;

impl Sink for NullSink {
    fn progress(&self, _percent: u8, _message: &str) {}

    fn chunk(&self, _text: &str) {}
}
