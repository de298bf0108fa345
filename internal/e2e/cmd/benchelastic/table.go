package main

import "fmt"

// table collects what was measured, as it is to be printed. It counts documents, or small indices.
type table struct {
	indices bool
	methods []string
	ratios  []string
}

// method adds what it took to read or write so many documents or indices.
func (t *table) method(name string, count int, c cost) {
	n, unit := float64(count), 1e6
	if t.indices {
		unit = 1e3
	}
	t.methods = append(t.methods, fmt.Sprintf("| %s | %.0f | %.2f | %.1f | %.1f |", name, n/c.Wall, c.Wall, c.Server/n*unit, c.CPU/n*unit))
}

// ratio adds a number that is to be at most, or where least is set at least, what is wanted. Where that is 0, it may be anything.
func (t *table) ratio(name string, got float64, least bool, wanted float64) {
	verdict, bound := "", ""
	if wanted != 0 {
		verdict, bound = "missed", fmt.Sprintf("at most %.3g", wanted)
		if least {
			bound = fmt.Sprintf("at least %.3g", wanted)
		}
		if least && got >= wanted || !least && got <= wanted {
			verdict = "met"
		}
	}
	t.ratios = append(t.ratios, fmt.Sprintf("| %s | %.3g | %s | %s |", name, got, bound, verdict))
}

func (t *table) print() {
	many, each := "documents", "us a document"
	if t.indices {
		many, each = "indices", "ms an index"
	}
	fmt.Printf("| | %s/s | wall s | server CPU %s | client CPU %s |\n|---|---|---|---|---|\n", many, each, each)
	for _, line := range t.methods {
		fmt.Println(line)
	}
	fmt.Printf("\n| ratio | measured | wanted | |\n|---|---|---|---|\n")
	for _, line := range t.ratios {
		fmt.Println(line)
	}
}
