package main

import "slices"

type number interface{ ~int64 | ~float64 }

func median[T number](values []T) T { return quantile(values, 0.5) }

// quantile gives the value below which a part of all values lies; 0 of none.
func quantile[T number](values []T, part float64) T {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	at := part * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + T((at-float64(low))*float64(sorted[high]-sorted[low]))
}

func sum[T number](values []T) (total T) {
	for _, value := range values {
		total += value
	}
	return total
}

// mean is 0 of no values.
func mean[T number](values []T) T { return sum(values) / T(max(len(values), 1)) }

// ratios divides each value of one list by that of another; both are as long.
func ratios[T number](of, to []T) []float64 {
	all := make([]float64, len(of))
	for i := range of {
		all[i] = float64(of[i]) / float64(to[i])
	}
	return all
}
