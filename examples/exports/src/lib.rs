//! Empty: the components are the examples of this package. See `examples/everywhere` for a package that has both a
//! program and a component.
