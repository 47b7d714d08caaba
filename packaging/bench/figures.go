package bench

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// Times are measurements of one thing.
type Times []time.Duration

// At returns the time that a part of them, 0 to 1, did not exceed.
func (t Times) At(part float64) time.Duration {
	if len(t) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(t))
	return sorted[int(part*float64(len(sorted)-1)+0.5)]
}

// Cells returns the least, the median and the 99th percentile, in the unit.
func (t Times) Cells(unit time.Duration) string {
	return fmt.Sprintf("%.2f\t%.2f\t%.2f", in(t.At(0), unit), in(t.At(0.5), unit), in(t.At(0.99), unit))
}

func in(d, unit time.Duration) float64 { return float64(d) / float64(unit) }

// Ratio returns how many times as long as b a took: by their minima and by their
// medians.
func Ratio(a, b Times) string {
	return fmt.Sprintf("%.2f\t%.2f", float64(a.At(0))/float64(b.At(0)), float64(a.At(0.5))/float64(b.At(0.5)))
}

// Table lines up rows of cells that are separated by tabs.
func Table(w io.Writer, rows ...string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range rows {
		fmt.Fprintln(t, row+"\t")
	}
	_ = t.Flush()
}
