// Package types holds Plexus's data and the parsing of it: the configuration of
// the plugin, the networks that a pod selects, the facts that a source gives, the
// plan that is made of them, the record that the journal keeps, the status that is
// published, and the messages between the plugin and its source of facts.
//
// It is pure: it reads no file, no environment and no clock, and imports neither
// Kubernetes nor libcni nor a logger. Whatever it accepts it can write out and
// read back unchanged; whatever it refuses it names by field, all faults at once.
package types
