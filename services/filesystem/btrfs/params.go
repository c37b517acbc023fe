package btrfs

import (
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// Params are the parameters of an update that concern snapshots. An update has one of them.
type Params struct {
	// Snapshot makes a snapshot, once for each name.
	Snapshot *Named `json:"snapshot"`
	// Undo replaces the contents by those of a snapshot.
	Undo *UndoTo `json:"undo"`
	// RemoveSnapshot removes a snapshot. An absent one is not an error.
	RemoveSnapshot *Named `json:"remove_snapshot"`
}

type (
	// Named names a snapshot.
	Named struct {
		Name string `json:"name"`
	}
	// UndoTo names the snapshot whose contents come back.
	UndoTo struct {
		To string `json:"to"`
		// Keep is the name of a new snapshot with the contents that are replaced; empty:
		// they are deleted.
		Keep string `json:"keep"`
	}
)

//go:embed instance-update.json
var updateSchema []byte

// WithSnapshots returns the schemas of a backend whose instances have Params.
func WithSnapshots(s services.Schemas) services.Schemas {
	s.InstanceUpdate, s.Actions = updateSchema, []string{"snapshot", "undo", "remove_snapshot"}
	return s
}

// MaxSnapshots is the most that a plan can allow.
const MaxSnapshots = 100

var nameRule = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// Validate implements services.Validator.
func (p *Params) Validate() error {
	var faults []error
	name := func(key, text string) {
		if !nameRule.MatchString(text) {
			faults = append(faults, fmt.Errorf("%s: must have 1 to 64 characters of a-z, A-Z, 0-9, '.', '_' and '-', and begin with a letter or digit", key))
		}
	}
	if p.Snapshot != nil {
		name("snapshot.name", p.Snapshot.Name)
	}
	if p.RemoveSnapshot != nil {
		name("remove_snapshot.name", p.RemoveSnapshot.Name)
	}
	if p.Undo != nil {
		name("undo.to", p.Undo.To)
		if p.Undo.Keep != "" {
			name("undo.keep", p.Undo.Keep)
		}
	}
	if p.count() > 1 {
		faults = append(faults, errors.New("snapshot, undo, remove_snapshot: an update has only one of these; make the others before or after it"))
	}
	return errors.Join(faults...)
}

func (p *Params) count() (n int) {
	for _, named := range []bool{p.Snapshot != nil, p.Undo != nil, p.RemoveSnapshot != nil} {
		if named {
			n++
		}
	}
	return n
}

// CheckUpdate rejects an update that the plan does not allow. most is how many snapshots it allows;
// samePlan says that the update keeps the plan.
func (p *Params) CheckUpdate(most int, samePlan bool) error {
	if p.count() == 0 {
		return nil
	}
	key := "parameters.snapshot"
	switch {
	case p.Undo != nil:
		key = "parameters.undo"
	case p.RemoveSnapshot != nil:
		key = "parameters.remove_snapshot"
	}
	switch {
	case most == 0:
		return services.Rejected("%s: this plan has no snapshots, which only a server on the file system btrfs can make; choose a plan that has them", key)
	case !samePlan:
		return services.Rejected("%s: this is an update of its own; change the plan before or after it", key)
	case p.Undo != nil && p.Undo.Keep == p.Undo.To:
		return services.Rejected("parameters.undo.keep: a snapshot of this name exists; choose another name")
	}
	return nil
}

// Describe returns the attributes of an instance whose plan allows so many snapshots.
func (s Snapshots) Describe(of string, most int) (map[string]any, error) {
	all, err := s.List(of)
	if err != nil || most == 0 && len(all) == 0 {
		return nil, err
	}
	list := []any{}
	for _, one := range all {
		list = append(list, map[string]any{"name": one.Name, "time": one.Made.UTC().Format(time.RFC3339)})
	}
	return map[string]any{"snapshots": map[string]any{"count": len(all), "allowed": most, "list": list}}, nil
}

// Footprint is the most that an instance with a limit of storage takes with its snapshots: none of
// them refers to more than the instance could hold.
func Footprint(storage services.Size, snapshots int) services.Size {
	return storage * services.Size(1+snapshots)
}

// CheckPlan returns an error if the folder, which a key of the configuration names, cannot have a
// plan's snapshots.
func (f Folder) CheckPlan(key string, snapshots int) error {
	switch {
	case snapshots == 0:
		return nil
	case f == "":
		return fmt.Errorf("snapshots: need %s on the file system btrfs, which the backend's configuration does not name; set it, or remove snapshots from the plan", key)
	case !f.Holds():
		return fmt.Errorf("snapshots: need %s on the file system btrfs, and %s is not; mount one there, or remove snapshots from the plan", key, f)
	}
	return nil
}
