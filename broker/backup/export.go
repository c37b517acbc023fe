package backup

import (
	"context"
	"io"
	"slices"

	"filippo.io/age"
)

// Filter selects backups in the store; an empty field selects all.
type Filter struct {
	// Instance is the platform's ID, or the Instance.Name.
	Instance, Platform, Organization, Space, Namespace string
	// Service and Plan are names or IDs.
	Service, Plan string
}

func (f Filter) selects(m Manifest) bool {
	o := m.Instance
	for _, c := range []struct {
		want string
		have []string
	}{
		{f.Instance, []string{o.ID, o.Name}}, {f.Platform, []string{o.Platform}}, {f.Organization, []string{o.Organization}},
		{f.Space, []string{o.Space}}, {f.Namespace, []string{o.Namespace}}, {f.Service, []string{o.Service, o.ServiceID}}, {f.Plan, []string{o.Plan, o.PlanID}},
	} {
		if c.want != "" && !slices.Contains(c.have, c.want) {
			return false
		}
	}
	return true
}

// Select returns the manifests in the store that a filter selects, the newest first, and the
// errors of those that are damaged.
func (o *Objects) Select(ctx context.Context, f Filter) (selected []Manifest, damaged []error, err error) {
	for m, err := range o.Manifests(ctx, "") {
		switch {
		case isDamaged(err):
			damaged = append(damaged, err)
		case err != nil:
			return nil, nil, err
		case f.selects(m):
			selected = append(selected, m)
		}
	}
	slices.SortStableFunc(selected, func(a, b Manifest) int { return b.Created.Compare(a.Created) })
	return selected, damaged, nil
}

// Export writes the copy in a backup to out, decrypted and decompressed, after it has checked
// the object. keyOf returns the key of an instance by its Instance.Name.
func (o *Objects) Export(ctx context.Context, name string, keyOf func(instance string) (age.Identity, error), out io.Writer) (Manifest, error) {
	m, err := o.Manifest(ctx, name)
	if err != nil {
		return m, err
	}
	key, err := keyOf(m.Instance.Name)
	if err != nil {
		return m, err
	}
	if err := o.Check(ctx, m.Stored); err != nil {
		return m, err
	}
	return m, o.Read(ctx, key, m.Stored, nil, func(_ context.Context, in io.Reader) error {
		_, err := io.Copy(out, in)
		return err
	})
}
