//! What the addon's build needs of napi.

fn main() {
    napi_build::setup();
}
