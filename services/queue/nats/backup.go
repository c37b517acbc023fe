package nats

import (
	"archive/tar"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/klauspost/compress/s2"

	"github.com/chandler-broker/chandler/services"
)

// storedStream is a stream as the server that leads it reports it.
type storedStream struct {
	Name    string
	Config  json.RawMessage
	State   streamState
	Cluster *struct{ Leader string }
}

// Backup implements services.Streamer. Each stream is copied at one moment, one stream after the
// other.
func (b *backend) Backup(ctx context.Context, r services.BackupRequest[Plan, InstanceParams]) (services.Contents, error) {
	a, err := b.account(ctx, r.Instance.Name)
	if err != nil {
		return services.Contents{}, err
	}
	if !a.usable() {
		return services.Contents{}, errors.New("the instance's account does not exist or is incomplete; if somebody removed it, deprovision the instance")
	}
	if !a.copyable() {
		return services.Contents{}, errors.New("an earlier version of the broker made the account, and this one cannot enter it; it can after the next bind, or once it has verified a binding")
	}
	before, err := a.streams(ctx)
	if err != nil {
		return services.Contents{}, err
	}
	w := &copyWriter{tar: tar.NewWriter(r.Writer)}
	found := newInventory()
	copied := map[string]streamState{}
	for _, s := range before {
		c, err := a.backup(ctx, s, w)
		if err != nil {
			return services.Contents{}, doing("copy stream "+s.Name, err)
		}
		if c != nil {
			found.add(c)
			copied[s.Name] = c.state
		}
	}
	if err := a.unforged(ctx, before, copied); err != nil {
		return services.Contents{}, err
	}
	if err := w.end(); err != nil {
		return services.Contents{}, err
	}
	return found.contents()
}

// streams lists the account's streams as the system account sees them: a stream's own account
// could forge the answer. Streams that follow others come first, so that they have not more
// than those.
func (a *account) streams(ctx context.Context) ([]storedStream, error) {
	u, err := a.b.link.usageOf(ctx, a.servers, a.public)
	if err != nil {
		return nil, err
	}
	if away := u.away(a.servers); len(away) > 0 {
		return nil, fmt.Errorf("server %s is away, and may have streams that no other server has; start it, or remove it from the cluster", strings.Join(away, ", "))
	}
	led, names := map[string]storedStream{}, map[string]bool{}
	question := fmt.Sprintf(`{"account": %q, "streams": true, "config": true}`, a.public)
	err = a.b.link.each(ctx, askStreams, a.servers, streamSubject, []byte(question), func(e envelope) error {
		return e.collect(a.public, led, names)
	})
	if err != nil {
		return nil, err
	}
	for name := range names {
		if _, ok := led[name]; !ok {
			return nil, fmt.Errorf("stream %s has no leader at the moment", name)
		}
	}
	return sortedStreams(led)
}

// collect adds a server's streams: all names, and the streams that it leads.
func (e *envelope) collect(account string, led map[string]storedStream, names map[string]bool) error {
	var r struct {
		Accounts []struct {
			ID      string
			Streams []storedStream `json:"stream_detail"`
		} `json:"account_details"`
	}
	if err := e.refusal(); err != nil {
		return err
	}
	if json.Unmarshal(e.Data, &r) != nil {
		return errNonsense
	}
	for _, a := range r.Accounts {
		if a.ID != account {
			continue
		}
		for _, s := range a.Streams {
			names[s.Name] = true
			if s.Cluster == nil || s.Cluster.Leader == e.Server.Name {
				led[s.Name] = s
			}
		}
	}
	return nil
}

func sortedStreams(led map[string]storedStream) ([]storedStream, error) {
	var first, then []storedStream
	for _, s := range led {
		var c streamConfig
		if err := json.Unmarshal(s.Config, &c); err != nil {
			return nil, errNonsense
		}
		if !validName(s.Name) || c.Name != s.Name {
			return nil, fmt.Errorf("stream %q has a name that cannot be copied", s.Name)
		}
		if c.derived() {
			first = append(first, s)
		} else {
			then = append(then, s)
		}
	}
	byName := func(x, y storedStream) int { return cmp.Compare(x.Name, y.Name) }
	slices.SortFunc(first, byName)
	slices.SortFunc(then, byName)
	return append(first, then...), nil
}

// backup copies one stream; nil: it does not exist any more.
func (a *account) backup(ctx context.Context, s storedStream, w *copyWriter) (*streamContents, error) {
	found, err := newStreamContents(s.Config)
	if err != nil {
		return nil, err
	}
	v, err := a.b.visit(ctx, a.name, s.State.Bytes, snapshotSubject+s.Name, snapshotAckSubject+s.Name+".>")
	if err != nil {
		return nil, err
	}
	defer v.close()
	data, err := v.snapshot(ctx, s.Name)
	if err != nil {
		return nil, err
	}
	defer data.stop()
	// The answer comes before anything is written, because the stream may be gone.
	if err := data.peek(); err != nil {
		if refused, ok := errors.AsType[*apiError](err); ok && refused.ErrCode == noSuchStream {
			return nil, nil //nolint:nilnil // the comment says what it means
		}
		return nil, err
	}
	if err := w.begin(s.Config); err != nil {
		return nil, err
	}
	err = transcode(s2.NewReader(data, s2.ReaderMaxBlockSize(4<<20)), w, int64(maxPayload), found)
	if err = errors.Join(data.failure(), err); err != nil {
		return nil, err
	}
	return found, w.flush()
}

// unforged compares the sequences of what was copied with the streams: an application can write into the
// copy of its own stream, and a server that restores a gap of many sequences is busy for long.
func (a *account) unforged(ctx context.Context, before []storedStream, copied map[string]streamState) error {
	after, err := a.streams(ctx)
	if err != nil {
		return err
	}
	first, last := map[string]uint64{}, map[string]uint64{}
	for _, s := range before {
		first[s.Name], last[s.Name] = s.State.First, s.State.Last
	}
	for _, s := range after {
		last[s.Name] = max(last[s.Name], s.State.Last)
	}
	for name, s := range copied {
		if s.First < first[name] || s.Last > last[name] || s.First > s.Last+1 {
			return fmt.Errorf("the copy of stream %s has other sequences than the stream: it was changed on its way, or the stream was made anew", name)
		}
	}
	return nil
}

// copyWriter writes a copy. A tar archive needs sizes in advance, which snapshots do not have: so
// it contains each in parts.
type copyWriter struct {
	tar     *tar.Writer
	streams int
	parts   int
	buf     []byte
}

const (
	partSize = 1 << 20
	endName  = "end"
)

// begin begins a stream.
func (w *copyWriter) begin(config json.RawMessage) error {
	w.streams++
	w.parts = 0
	return w.file(streamFile(w.streams), config)
}

func streamFile(stream int) string     { return fmt.Sprintf("streams/%06d/config.json", stream) }
func partFile(stream, part int) string { return fmt.Sprintf("streams/%06d/%09d", stream, part) }

// Write implements io.Writer with a part of the stream's snapshot.
func (w *copyWriter) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		n := min(len(p), partSize-len(w.buf))
		w.buf = append(w.buf, p[:n]...)
		p = p[n:]
		if len(w.buf) == partSize {
			if err := w.flush(); err != nil {
				return 0, err
			}
		}
	}
	return total, nil
}

// flush writes what was collected as one part.
func (w *copyWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	w.parts++
	err := w.file(partFile(w.streams, w.parts), w.buf)
	w.buf = w.buf[:0]
	return err
}

func (w *copyWriter) file(name string, content []byte) error {
	if err := w.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(content)), Format: tar.FormatUSTAR}); err != nil {
		return doing("write the copy", err)
	}
	_, err := w.tar.Write(content)
	return doing("write the copy", err)
}

// end writes the mark of a complete copy.
func (w *copyWriter) end() error {
	if err := w.file(endName, nil); err != nil {
		return err
	}
	return doing("write the copy", w.tar.Close())
}

var _ io.Writer = (*copyWriter)(nil)
