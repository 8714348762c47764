package types

import (
	"slices"
	"strings"
)

// UnknownKey names a key that a reader does not know, for a warning, and with it the nearest of the
// keys that it does know, if one is near.
func UnknownKey(key string, known []string) string {
	if nearest := nearest(key, known); nearest != "" {
		return brief(key).String() + " (the nearest known key is " + nearest + ")"
	}
	return brief(key).String()
}

// NearestKey gives the known key that was most likely meant, "" if none is near.
func NearestKey(key string, known []string) string { return nearest(key, known) }

// maxMisspelt is how long a key may be that is compared: nobody misspells a longer one, and each
// comparison takes the product of both lengths.
const maxMisspelt = 40

// nearest gives the known key that was most likely meant, "" if none is near: at most a third of the
// letters differ, or one is part of the other. Case, "_", "-" and "." do not count.
func nearest(key string, known []string) string {
	best, least := "", 0
	if len(key) > maxMisspelt {
		return best
	}
	for _, candidate := range slices.Sorted(slices.Values(known)) {
		a, b := letters(key), letters(candidate)
		distance := edits(a, b)
		partOf := min(len(a), len(b)) >= 3 && (strings.Contains(a, b) || strings.Contains(b, a))
		near := partOf || 3*distance <= max(len(a), len(b))
		if near && (best == "" || distance < least) {
			best, least = candidate, distance
		}
	}
	return best
}

var separators = strings.NewReplacer("_", "", "-", "", ".", "")

func letters(key string) string { return fold(separators.Replace(key)) }

// edits counts the letters to insert, to delete, to replace, or to swap with the next, that make one
// text of the other.
func edits(a, b string) int {
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[1] {
		rows[1][j] = j
	}
	for i := range len(a) {
		beforeLast, last, row := rows[0], rows[1], rows[2]
		row[0] = i + 1
		for j := range len(b) {
			differs := 1
			if a[i] == b[j] {
				differs = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+differs)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], beforeLast[j-1]+1)
			}
		}
		rows = [3][]int{last, row, beforeLast}
	}
	return rows[1][len(b)]
}
