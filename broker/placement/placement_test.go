package placement

import (
	"testing"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/services"
)

// on is a server with so many instances; with fills in the rest.
func on(name string, instances int, with ...func(*Load)) Load {
	l := Load{Server: catalog.Server{Backend: "b", Name: name}, Instances: instances}
	for _, w := range with {
		w(&l)
	}
	return l
}

func mostInstances(n int) func(*Load) { return func(l *Load) { l.Server.Capacity.Instances = n } }
func drained(l *Load)                 { l.Server.Drain = true }
func away(l *Load)                    { l.Unreachable = "no route" }

func storage(promised, capacity services.Size) func(*Load) {
	return func(l *Load) { l.Promised.Storage, l.Server.Capacity.Storage = promised, capacity }
}

func memory(promised, capacity services.Size) func(*Load) {
	return func(l *Load) { l.Promised.Memory, l.Server.Capacity.Memory = promised, capacity }
}

func measured(free, total services.Size) func(*Load) {
	return func(l *Load) { l.Free.Storage, l.Total.Storage = free, total }
}

func promised(n services.Size) func(*Load) { return func(l *Load) { l.Promised.Storage = n } }

func TestChoose(t *testing.T) {
	const full, isAway = "(full)", "(away)"
	for name, c := range map[string]struct {
		loads []Load
		takes services.Space
		want  string
	}{
		"the only one":                        {[]Load{on("a", 1000)}, services.Space{}, "a"},
		"nothing known: fewest instances":     {[]Load{on("a", 3), on("b", 2), on("c", 2)}, services.Space{}, "b"},
		"the larger part free":                {[]Load{on("a", 10, mostInstances(100)), on("b", 3, mostInstances(10))}, services.Space{}, "a"},
		"room for one more":                   {[]Load{on("a", 9, mostInstances(10))}, services.Space{}, "a"},
		"no room for one more":                {[]Load{on("a", 10, mostInstances(10))}, services.Space{}, full},
		"shrunk below what it has":            {[]Load{on("a", 20, mostInstances(10))}, services.Space{}, full},
		"drained":                             {[]Load{on("a", 0, drained), on("b", 9)}, services.Space{}, "b"},
		"all drained":                         {[]Load{on("a", 0, drained), on("b", 9, drained)}, services.Space{}, full},
		"by storage":                          {[]Load{on("a", 1, storage(50, 100)), on("b", 9, storage(40, 100))}, services.Space{Storage: 10}, "b"},
		"just enough storage":                 {[]Load{on("a", 1, storage(90, 100))}, services.Space{Storage: 10}, "a"},
		"too little storage":                  {[]Load{on("a", 1, storage(91, 100))}, services.Space{Storage: 10}, full},
		"the scarcest decides":                {[]Load{on("a", 1, storage(10, 100), memory(90, 100)), on("b", 1, storage(60, 100), memory(60, 100))}, services.Space{Storage: 1, Memory: 1}, "b"},
		"too little memory":                   {[]Load{on("a", 1, memory(91, 100))}, services.Space{Memory: 10}, full},
		"a plan without a size":               {[]Load{on("a", 1, storage(100, 100))}, services.Space{}, "a"},
		"by what is measured":                 {[]Load{on("a", 1, measured(10, 100)), on("b", 50, measured(500, 1000))}, services.Space{}, "b"},
		"a disk that is full":                 {[]Load{on("a", 1, measured(5, 100))}, services.Space{Storage: 10}, full},
		"promised and not used yet":           {[]Load{on("a", 9, measured(100, 100), promised(60)), on("b", 1, measured(90, 100), promised(20))}, services.Space{Storage: 1}, "b"},
		"more promised than there is":         {[]Load{on("a", 9, measured(90, 100), promised(700))}, services.Space{Storage: 1}, "a"},
		"one that does not answer":            {[]Load{on("a", 0, away), on("b", 9)}, services.Space{}, "b"},
		"none answers":                        {[]Load{on("a", 3, away), on("b", 2, away)}, services.Space{}, "b"},
		"the one with room does not answer":   {[]Load{on("a", 1, mostInstances(1)), on("b", 0, away, mostInstances(1))}, services.Space{}, isAway},
		"full whether they answer or not":     {[]Load{on("a", 1, mostInstances(1)), on("b", 1, away, mostInstances(1))}, services.Space{}, full},
		"the drained one would have answered": {[]Load{on("a", 0, drained), on("b", 0, away, mostInstances(1))}, services.Space{}, isAway},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := choose(c.loads, c.takes)
			switch {
			case err != nil && err.Unreachable:
				got = isAway
			case err != nil:
				got = full
			}
			if got != c.want {
				t.Errorf("%s, want %s, of %s", got, c.want, describe(c.loads))
			}
		})
	}
}
