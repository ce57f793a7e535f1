//! Tests of the specification as its users see it.

mod it {
    mod golden;
}
