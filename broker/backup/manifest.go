package backup

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"regexp"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/minio/minio-go/v7"

	"github.com/chandler-broker/chandler/services"
)

// manifestVersion is the version of the format. A change that older programs would misread
// has a new one.
const manifestVersion = 1

// maxManifest is the maximum size of a manifest in bytes.
const maxManifest = 1 << 20

// Manifest describes a backup, so that it can be restored if the broker's state is lost. It is
// not encrypted, and contains no secrets. It is a claim of whoever may write to the store.
type Manifest struct {
	Version int `json:"version"`
	// ID is the backup's, and Label what the user called it; it may be empty.
	ID    string `json:"id"`
	Label string `json:"label,omitempty"`
	// Base is the ID of the instance's backup that this one builds on; empty: it is complete
	// in itself.
	Base string `json:"base,omitempty"`
	// Created is when the copy began, in UTC.
	Created  time.Time `json:"created"`
	Instance Owner     `json:"instance"`
	Stored   Stored    `json:"stored"`
	// Recipients are the age recipients that can decrypt it.
	Recipients []string `json:"recipients"`
}

// Owner is the instance that was copied, as it was then.
type Owner struct {
	ID string `json:"id"`
	// Name is the Instance.Name, which derives from ID.
	Name string `json:"name"`
	// Platform is the name of the client, and the others are the platform's.
	Platform     string `json:"platform"`
	Organization string `json:"organization,omitempty"`
	Space        string `json:"space,omitempty"`
	Namespace    string `json:"namespace,omitempty"`
	// ServiceID and PlanID are those of the catalog; their names are for people.
	ServiceID string `json:"service_id"`
	Service   string `json:"service"`
	PlanID    string `json:"plan_id"`
	Plan      string `json:"plan"`
	// BackendType is the type of the plan's backend, such as database/postgres.
	BackendType string `json:"backend_type"`
	// Parameters are the user's, a JSON object or absent.
	Parameters json.RawMessage `json:"parameters,omitempty"`
	// Context is the platform's context object, or absent.
	Context json.RawMessage `json:"context,omitempty"`
}

// Name is the name of the backup in the store.
func (m Manifest) Name() string { return Name(m.Instance.Name, m.ID) }

var (
	instanceName = regexp.MustCompile(`^[a-z2-7]{26}$`)
	backupID     = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)
)

// DecodeManifest reads a manifest strictly: one JSON object of this version, without unknown
// keys, whose values fit together. Everything in it may be hostile.
func DecodeManifest(data []byte) (Manifest, error) {
	var m, none Manifest
	var version struct {
		Version int `json:"version"`
	}
	if len(data) > maxManifest {
		return none, fmt.Errorf("the manifest has %d bytes; it may have %d", len(data), maxManifest)
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return none, fmt.Errorf("the manifest is not one JSON object: %w", err)
	}
	if version.Version != manifestVersion {
		return none, fmt.Errorf("version: the manifest has version %d, and this program reads version %d; use the program that wrote it or a newer one",
			version.Version, manifestVersion)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&m); err != nil {
		return none, fmt.Errorf("the manifest is malformed: %w", err)
	}
	if err := m.validate(); err != nil {
		return none, fmt.Errorf("the manifest is malformed: %w", err)
	}
	return m, nil
}

func (m Manifest) validate() error {
	sum, err := hex.DecodeString(m.Stored.SHA256)
	random, ofThis := strings.CutPrefix(m.Stored.Object, m.Name()+".")
	for _, rule := range []struct {
		bad   bool
		fault string
	}{
		{!backupID.MatchString(m.ID), "id: must be 1 to 64 characters of A-Z, a-z, 0-9 and '-'"},
		{!instanceName.MatchString(m.Instance.Name), "instance.name: must be 26 characters of a-z and 2-7"},
		{m.Instance.ID == "", "instance.id: is missing"},
		{m.Instance.ServiceID == "" || m.Instance.PlanID == "", "instance: has no service_id or plan_id"},
		{m.Instance.BackendType == "", "instance.backend_type: is missing"},
		{!isObject(m.Instance.Parameters), "instance.parameters: must be an object"},
		{!isObject(m.Instance.Context), "instance.context: must be an object"},
		{m.Created.IsZero(), "created: is missing"},
		{!ofThis || strings.Contains(random, "/") || !strings.HasSuffix(random, copySuffix), "stored.object: is not a copy of this backup"},
		{m.Stored.Raw < 0 || m.Stored.Stored <= 0, "stored: has no sizes"},
		{err != nil || len(sum) != 32 || strings.ToLower(m.Stored.SHA256) != m.Stored.SHA256, "stored.sha256: must be 64 digits 0-9a-f"},
		{m.Stored.Contents.Format == "", "stored.contents.format: is missing"},
		{len(m.Recipients) == 0, "recipients: are missing"},
		{m.Base != "" && (!backupID.MatchString(m.Base) || m.Base == m.ID), "base: must be the ID of another backup"},
		{m.Stored.Contents.Incremental != (m.Base != ""), "base: is only of incremental copies, which must have one"},
	} {
		if rule.bad {
			return errors.New(rule.fault)
		}
	}
	for i, r := range m.Recipients {
		if _, err := age.ParseX25519Recipient(r); err != nil {
			return fmt.Errorf("recipients[%d]: is not an age recipient", i)
		}
	}
	return nil
}

// isObject reports whether a value is a JSON object or absent.
func isObject(value json.RawMessage) bool {
	return len(value) == 0 || bytes.TrimLeft(value, " \t\r\n")[0] == '{' && services.CheckNumbers("value", value) == nil
}

// PutManifest stores a manifest beside its copy, which makes the backup complete.
func (o *Objects) PutManifest(ctx context.Context, m Manifest) error {
	m.Version = manifestVersion
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the manifest of a backup: %w", err)
	}
	if _, err := DecodeManifest(data); err != nil {
		return err
	}
	ctx, cancel := o.patience.call(ctx, len(data))
	defer cancel()
	err = services.RunToCompletion(ctx, func(ctx context.Context) error {
		_, err := o.core.Client.PutObject(ctx, o.bucket, o.prefix+m.Name()+manifestSuffix, bytes.NewReader(data), int64(len(data)),
			minio.PutObjectOptions{ContentType: "application/json", SendContentMd5: true})
		return err
	})
	return explain("store the manifest of a backup", err)
}

// Manifest returns the manifest of a backup. The error is ErrNotFound if the store does not have it, and
// ErrDamaged if it is malformed.
func (o *Objects) Manifest(ctx context.Context, name string) (Manifest, error) {
	var none Manifest
	ctx, cancel := o.patience.call(ctx, maxManifest)
	defer cancel()
	body, _, _, err := o.core.GetObject(ctx, o.bucket, o.prefix+name+manifestSuffix, minio.GetObjectOptions{})
	if err != nil {
		return none, explain("read the manifest of backup "+name, err)
	}
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, maxManifest+1))
	if err != nil {
		return none, explain("read the manifest of backup "+name, err)
	}
	m, err := DecodeManifest(data)
	if err != nil {
		return none, damaged("%s: %w", name, err)
	}
	if m.Name() != name {
		return none, damaged("%s: the manifest is of %s", name, m.Name())
	}
	return m, nil
}

// Chain returns a manifest and those of the backups that it builds on, directly or not, the newest
// first. The error is ErrNotFound if one is missing, and ErrDamaged if they do not fit together.
func (o *Objects) Chain(ctx context.Context, m Manifest) ([]Manifest, error) {
	chain := []Manifest{m}
	for m.Base != "" {
		base, err := o.Manifest(ctx, Name(m.Instance.Name, m.Base))
		if err != nil {
			return nil, fmt.Errorf("%s builds on another backup: %w", m.Name(), err)
		}
		if base.Created.After(m.Created) || base.Instance.BackendType != m.Instance.BackendType || len(chain) == maxChain {
			return nil, damaged("%s builds on %s, which cannot be", m.Name(), base.Name())
		}
		chain, m = append(chain, base), base
	}
	return chain, nil
}

// Manifests returns the manifests of an instance's backups, or of all if instance, an
// Instance.Name, is empty. An error that is ErrDamaged concerns one manifest, and the others
// follow; another one is the last.
func (o *Objects) Manifests(ctx context.Context, instance string) iter.Seq2[Manifest, error] {
	start := o.prefix
	if instance != "" {
		start += instance + "/"
	}
	return func(yield func(Manifest, error) bool) {
		for object := range o.core.Client.ListObjectsIter(ctx, o.bucket, minio.ListObjectsOptions{Prefix: start, Recursive: true}) {
			if object.Err != nil {
				yield(Manifest{}, explain("list the backups in the store", object.Err))
				return
			}
			name, ok := strings.CutSuffix(strings.TrimPrefix(object.Key, o.prefix), manifestSuffix)
			if !ok {
				continue
			}
			m, err := o.Manifest(ctx, name)
			if errors.Is(err, ErrNotFound) {
				continue // deleted meanwhile
			}
			if !yield(m, err) || err != nil && !isDamaged(err) {
				return
			}
		}
	}
}
