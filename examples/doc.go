// Package examples is for its test, which loads and plans every file here.
package examples
