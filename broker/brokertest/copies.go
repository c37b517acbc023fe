package brokertest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"filippo.io/age"

	"github.com/chandler-broker/chandler/broker/backup"
	"github.com/chandler-broker/chandler/services"
)

const memoryFormat = "memory-1"

// Write stores a value in an instance, as an application would.
func (m *Backend) Write(id, key, value string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i := m.instances[services.InstanceName(id)]; i != nil {
		i.data[key] = value
	}
}

// Data returns what applications stored in an instance; nil if it does not exist.
func (m *Backend) Data(id string) map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i := m.instances[services.InstanceName(id)]; i != nil {
		return maps.Clone(i.data)
	}
	return nil
}

// entry is a key in a copy, which ends with an empty one. Base says that the value with that sum
// is in the base.
type entry struct {
	Key, Value string
	Base       string `json:",omitempty"`
}

func sumOf(value string) string {
	sum := sha256.Sum256([]byte(value))
	return hex.EncodeToString(sum[:])
}

// Increments implements services.Incrementer.
func (m *Backend) Increments() bool { return true }

// SetIncrements makes copies incremental if the engine gives them a base.
func (m *Backend) SetIncrements(on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.increments = on
}

// readBase returns the sums of the values in a base, by their keys; nil without a base.
func (m *Backend) readBase(ctx context.Context, base *services.BaseCopy) (map[string]string, error) {
	m.mu.Lock()
	on := m.increments
	m.mu.Unlock()
	if base == nil || !on {
		return nil, nil
	}
	sums := map[string]string{}
	return sums, base.Read(ctx, func(r io.Reader) error {
		return eachEntry(r, func(e entry) error {
			sums[e.Key] = e.Base
			if e.Base == "" {
				sums[e.Key] = sumOf(e.Value)
			}
			return nil
		})
	})
}

// eachEntry reads a copy to its end.
func eachEntry(r io.Reader, do func(entry) error) error {
	in := json.NewDecoder(r)
	for {
		var e entry
		if err := in.Decode(&e); err != nil {
			return fmt.Errorf("read the copy: %w", err)
		}
		if e.Key == "" {
			_, err := io.Copy(io.Discard, r)
			return err
		}
		if err := do(e); err != nil {
			return err
		}
	}
}

// Backup implements services.Streamer. Its hooks are those of the verbs; the one before is called
// with half of the copy written.
func (m *Backend) Backup(ctx context.Context, r services.BackupRequest[Plan, Params]) (services.Contents, error) {
	data := m.dataOf(r.Instance.Name)
	if data == nil {
		return services.Contents{}, fmt.Errorf("instance %s does not exist", r.Instance.Name)
	}
	base, err := m.readBase(ctx, r.Base)
	if err != nil {
		return services.Contents{}, err
	}
	out := json.NewEncoder(r.Writer)
	keys := slices.Sorted(maps.Keys(data))
	contents := services.Contents{Format: memoryFormat, Counts: map[string]int64{"keys": int64(len(keys))}}
	write := func(keys []string) error {
		for _, key := range keys {
			e := entry{Key: key, Value: data[key]}
			if sum := sumOf(e.Value); base[key] == sum {
				e, contents.Incremental = entry{Key: key, Base: sum}, true
			}
			if err := out.Encode(e); err != nil {
				return err
			}
		}
		return nil
	}
	if err := write(keys[:len(keys)/2]); err != nil {
		return services.Contents{}, err
	}
	err = m.call(ctx, "backup", r.Instance.ID, "", func() error {
		return errors.Join(write(keys[len(keys)/2:]), out.Encode(entry{}))
	})
	return contents, err
}

func (m *Backend) dataOf(name string) map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i := m.instances[name]; i != nil {
		return maps.Clone(i.data)
	}
	return nil
}

// Restore implements services.Streamer. It writes the first key before it calls the hook before.
func (m *Backend) Restore(ctx context.Context, r services.RestoreRequest[Plan, Params]) (none services.RestoreResult, err error) {
	if r.Contents.Format != memoryFormat {
		return none, services.Rejected("the backup has the format %q: only %q can be restored", r.Contents.Format, memoryFormat)
	}
	if len(m.dataOf(r.Instance.Name)) > 0 {
		return none, fmt.Errorf("instance %s is not empty", r.Instance.Name)
	}
	first, wanted := true, map[string]string{}
	take := func(e entry) error {
		if e.Base != "" {
			wanted[e.Key] = e.Base
			return nil
		}
		if err := m.put(r.Instance.Name, e); err != nil || !first {
			return err
		}
		first = false
		return m.call(ctx, "restore", r.Instance.ID, "", func() error { return nil })
	}
	if err := eachEntry(r.Reader, take); err != nil {
		return none, err
	}
	for _, base := range r.Bases {
		err := base.Read(ctx, func(in io.Reader) error {
			return eachEntry(in, func(e entry) error {
				if sum, ok := wanted[e.Key]; !ok || e.Base != "" || sum != sumOf(e.Value) {
					return nil
				}
				delete(wanted, e.Key)
				return take(e)
			})
		})
		if err != nil {
			return none, err
		}
	}
	if len(wanted) > 0 {
		return none, fmt.Errorf("the bases lack %d keys", len(wanted))
	}
	return none, m.call(ctx, "restored", r.Instance.ID, "", func() error { return nil })
}

// put stores an entry of a copy in an instance.
func (m *Backend) put(name string, e entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := m.instances[name]
	if i == nil {
		return fmt.Errorf("instance %s does not exist", name)
	}
	i.data[e.Key] = e.Value
	return nil
}

// Archive is a store of backups in memory. It is safe for concurrent use.
type Archive struct {
	mu        sync.Mutex
	objects   map[string][]byte // by their names
	manifests map[string]backup.Manifest
	n         int
	fail      func(call string) error
}

var _ backup.Archive = (*Archive)(nil)

// NewArchive makes an empty Archive.
func NewArchive() *Archive {
	return &Archive{objects: map[string][]byte{}, manifests: map[string]backup.Manifest{}}
}

// OnCall sets what is called before each call (write, stored, check, read, manifest, described,
// delete, deleted), which returns its error. stored, described and deleted are after the effect.
func (a *Archive) OnCall(fail func(call string) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fail = fail
}

func (a *Archive) called(call string) error {
	a.mu.Lock()
	fail := a.fail
	a.mu.Unlock()
	if fail == nil {
		return nil
	}
	return fail(call)
}

// Objects returns the names of the objects, and of the backups with manifests.
func (a *Archive) Objects() (objects, manifests []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Sorted(maps.Keys(a.objects)), slices.Sorted(maps.Keys(a.manifests))
}

// Damage changes a byte of every object.
func (a *Archive) Damage() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, object := range a.objects {
		object[len(object)/2] ^= 1
	}
}

// Lose removes the objects of a backup, but not its manifest.
func (a *Archive) Lose(backupID string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.objects, func(object string, _ []byte) bool { return strings.Contains(object, "/"+backupID+".") })
}

// Manifest returns the manifest of a backup, or a zero Manifest if the backup has none.
func (a *Archive) Manifest(backupID string) backup.Manifest {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, m := range a.manifests {
		if m.ID == backupID {
			return m
		}
	}
	return backup.Manifest{}
}

// Ready implements backup.Archive.
func (a *Archive) Ready(context.Context) error { return a.called("ready") }

// Write implements backup.Archive. It does not encrypt.
func (a *Archive) Write(ctx context.Context, name string, to []age.Recipient, limit int64, progress func(int64),
	write func(context.Context, io.Writer) (services.Contents, error),
) (backup.Stored, error) {
	if len(to) == 0 {
		return backup.Stored{}, errors.New("a backup needs a recipient")
	}
	if err := a.called("write"); err != nil {
		return backup.Stored{}, err
	}
	var copied bytes.Buffer
	contents, err := write(ctx, &copied)
	if err != nil {
		return backup.Stored{}, err
	}
	size := int64(copied.Len())
	if limit > 0 && size > limit {
		return backup.Stored{}, backup.ErrTooLarge
	}
	progress(size)
	sum := sha256.Sum256(copied.Bytes())
	a.mu.Lock()
	a.n++
	object := fmt.Sprintf("%s.%d.age", name, a.n)
	a.objects[object] = copied.Bytes()
	a.mu.Unlock()
	return backup.Stored{Object: object, Raw: size, Stored: size, SHA256: hex.EncodeToString(sum[:]), Contents: contents}, a.called("stored")
}

func (a *Archive) object(s backup.Stored) ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	object, ok := a.objects[s.Object]
	if !ok {
		return nil, backup.ErrNotFound
	}
	return bytes.Clone(object), nil
}

// Check implements backup.Archive.
func (a *Archive) Check(_ context.Context, s backup.Stored) error {
	if err := a.called("check"); err != nil {
		return err
	}
	object, err := a.object(s)
	if sum := sha256.Sum256(object); err == nil && hex.EncodeToString(sum[:]) != s.SHA256 {
		return backup.ErrDamaged
	}
	return err
}

// Read implements backup.Archive.
func (a *Archive) Read(ctx context.Context, _ age.Identity, s backup.Stored, progress func(int64), read func(context.Context, io.Reader) error) error {
	if err := a.called("read"); err != nil {
		return err
	}
	object, err := a.object(s)
	if err != nil {
		return err
	}
	progress(int64(len(object)))
	err = read(ctx, bytes.NewReader(object))
	if sum := sha256.Sum256(object); hex.EncodeToString(sum[:]) != s.SHA256 {
		return backup.ErrDamaged
	}
	return err
}

// PutManifest implements backup.Archive.
func (a *Archive) PutManifest(_ context.Context, m backup.Manifest) error {
	if err := a.called("manifest"); err != nil {
		return err
	}
	a.mu.Lock()
	a.manifests[m.Name()] = m
	a.mu.Unlock()
	return a.called("described")
}

// Delete implements backup.Archive.
func (a *Archive) Delete(_ context.Context, name string) error {
	if err := a.called("delete"); err != nil {
		return err
	}
	a.mu.Lock()
	delete(a.manifests, name)
	maps.DeleteFunc(a.objects, func(object string, _ []byte) bool { return strings.HasPrefix(object, name+".") })
	a.mu.Unlock()
	return a.called("deleted")
}

// Lose removes all instances and bindings, as a server does that has lost its disk.
func (m *Backend) Lose() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.instances)
}
