package backup

import (
	"context"
	"fmt"
	"io"

	"filippo.io/age"

	"github.com/chandler-broker/chandler/services"
)

// Reencrypt encrypts a backup anew, to other recipients, because the key of its instance was lost. with
// opens it. It returns the new manifest, which is stored already; the old object is removed last.
func (o *Objects) Reencrypt(ctx context.Context, m Manifest, with age.Identity, to []*age.X25519Recipient) (Manifest, error) {
	if err := o.Check(ctx, m.Stored); err != nil {
		return m, fmt.Errorf("check the backup before it is encrypted anew: %w", err)
	}
	old := m.Stored
	recipients := make([]age.Recipient, len(to))
	m.Recipients = nil
	for i, r := range to {
		recipients[i] = r
		m.Recipients = append(m.Recipients, r.String())
	}
	stored, err := o.Write(ctx, m.Name(), recipients, old.Raw, nil, func(ctx context.Context, out io.Writer) (services.Contents, error) {
		return old.Contents, o.Read(ctx, with, old, nil, func(_ context.Context, in io.Reader) error {
			_, err := io.Copy(out, in)
			return err
		})
	})
	if err != nil {
		return m, fmt.Errorf("encrypt the backup anew: %w", err)
	}
	m.Stored = stored
	if err := o.PutManifest(ctx, m); err != nil {
		return m, err
	}
	return m, o.remove(ctx, old.Object)
}
