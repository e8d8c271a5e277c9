//! placeholder
use crate::api::RagRelease;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::mpsc;
pub struct Signals {
    _wake: mpsc::Sender<ObjectRef<RagRelease>>,
}
impl Signals {
    pub fn new(wake: mpsc::Sender<ObjectRef<RagRelease>>) -> Self {
        Self { _wake: wake }
    }
}
