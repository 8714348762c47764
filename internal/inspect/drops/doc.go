// Package drops reads the kernel's own reasons for dropping packets, for those that have a mark, and says
// what a reason means. Only Linux has the first; the second is a text.
package drops
