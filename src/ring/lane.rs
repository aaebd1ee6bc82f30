//! stub
#[derive(Debug)]
pub struct Lease;
impl Lease {
    pub fn words(&self) -> &[u32] {
        &[]
    }
}
