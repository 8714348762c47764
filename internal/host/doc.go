// Package host is the ground floor that every part of Plexus stands on: which network
// namespace is which, which boot this is, locks on files, files that survive a power
// cut, and the places where a build for tests can be told to end.
package host
