package nats

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/s2"

	"github.com/chandler-broker/chandler/services"
)

// Restore implements services.Streamer. The streams get their names, sequences and times back.
func (b *backend) Restore(ctx context.Context, r services.RestoreRequest[Plan, InstanceParams]) (services.RestoreResult, error) {
	if r.Contents.Format != copyFormat {
		return services.RestoreResult{}, services.Rejected("the copy has the format %q, and this service restores %q; restore it into the service that it comes from", r.Contents.Format, copyFormat)
	}
	var d details
	if err := json.Unmarshal(r.Contents.Details, &d); err != nil {
		return services.RestoreResult{}, doing("read the copy's details", err)
	}
	if err := d.fits(r.Instance.Plan); err != nil {
		return services.RestoreResult{}, err
	}
	a, err := b.account(ctx, r.Instance.Name)
	if err != nil {
		return services.RestoreResult{}, err
	}
	if !a.usable() {
		return services.RestoreResult{}, errors.New("the instance's account does not exist or is incomplete; provision the instance again")
	}
	return services.RestoreResult{}, a.restore(ctx, r.Instance.Plan, d, r.Contents, r.Reader)
}

// restore reads a copy.
func (a *account) restore(ctx context.Context, p Plan, d details, want services.Contents, r io.Reader) error {
	u, err := a.b.link.usageOf(ctx, a.servers, a.public)
	if err != nil {
		return err
	}
	c := &copyReader{tar: tar.NewReader(r)}
	found := newInventory()
	for {
		config, err := c.nextStream()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return doing("read the copy", err)
		}
		s, err := a.restoreStream(ctx, restoring{p, uint64(d.Storage + d.Memory), u.enabled}, config, c) //nolint:gosec // sizes are positive
		if err = errors.Join(c.err, err); err != nil {
			return err
		}
		found.add(s)
	}
	if n, err := io.Copy(io.Discard, r); err != nil || n > 0 {
		return errors.Join(errors.New("the copy does not end where it says"), err)
	}
	got, err := found.contents()
	if err == nil && got.Digest != want.Digest {
		err = errors.New("the copy is damaged: it does not contain what its description says")
	}
	return err
}

// restoring is what the restore of each stream needs to know.
type restoring struct {
	plan    Plan
	bytes   uint64 // of the whole copy
	servers int
}

// restoreStream restores the stream that c is at.
func (a *account) restoreStream(ctx context.Context, to restoring, config json.RawMessage, c *copyReader) (*streamContents, error) {
	s, err := newStreamContents(config)
	if err != nil {
		return nil, err
	}
	name := s.config.Name
	if !validName(name) {
		return nil, fmt.Errorf("the copy has a stream with the invalid name %q", name)
	}
	if config, err = adapt(config, s.config.Replicas, to.servers); err != nil {
		return nil, err
	}
	v, err := a.b.visit(ctx, a.name, to.bytes, restoreSubject+name, restoreDataSubject+name+".>")
	if err != nil {
		return nil, err
	}
	defer v.close()
	up, err := v.upload(ctx, name, config, int64(to.plan.Payload))
	if err != nil {
		return nil, err
	}
	compressed := s2.NewWriter(up, s2.WriterConcurrency(1), s2.WriterBlockSize(chunkSize))
	if err := transcode(c, compressed, int64(to.plan.Payload), s); err != nil {
		up.fail()
		return nil, rejected(name, err)
	}
	if err := compressed.Close(); err != nil {
		up.fail()
		return nil, rejected(name, err)
	}
	answer, err := up.finish()
	if err != nil {
		return nil, rejected(name, err)
	}
	return s, s.confirmed(answer)
}

// adapt changes what depends on the servers in a stream's configuration.
func adapt(config json.RawMessage, replicas, servers int) (json.RawMessage, error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(config, &fields); err != nil {
		return nil, doing("read the stream's configuration", err)
	}
	delete(fields, "placement")
	var err error
	fields["num_replicas"], err = json.Marshal(max(1, min(replicas, servers)))
	if err != nil {
		return nil, err
	}
	return json.Marshal(fields)
}

// confirmed compares what the server has with what it was sent.
func (s *streamContents) confirmed(answer []byte) error {
	var restored struct{ State streamState }
	if json.Unmarshal(answer, &restored) != nil {
		return errNonsense
	}
	got := restored.State
	if s.config.lasting() && (got.Messages != uint64(s.count) || got.Last != s.state.Last) { //nolint:gosec // a count is positive
		return fmt.Errorf("the server restored %d messages of stream %s up to %d, and not %d up to %d",
			got.Messages, s.config.Name, got.Last, s.count, s.state.Last)
	}
	return nil
}

// copyReader reads a copy, one stream after the other.
type copyReader struct {
	tar     *tar.Reader
	streams int
	parts   int
	inPart  bool
	next    *tar.Header // read ahead
	err     error       // of the copy itself
}

const maxConfigSize = 1 << 20

// nextStream returns the configuration of the next stream. Its error is io.EOF at the mark of the
// end.
func (c *copyReader) nextStream() (json.RawMessage, error) {
	header, err := c.header()
	if err != nil {
		return nil, err
	}
	if header.Name == endName && header.Size == 0 {
		if _, err := c.tar.Next(); !errors.Is(err, io.EOF) {
			return nil, errors.Join(errors.New("the copy goes on after its end"), err)
		}
		return nil, io.EOF
	}
	c.streams++
	c.parts, c.inPart = 0, false
	if header.Name != streamFile(c.streams) || header.Typeflag != tar.TypeReg || header.Size > maxConfigSize {
		return nil, fmt.Errorf("the copy contains the unexpected file %q", header.Name)
	}
	return io.ReadAll(c.tar)
}

// header returns the header of the next file.
func (c *copyReader) header() (*tar.Header, error) {
	if next := c.next; next != nil {
		c.next = nil
		return next, nil
	}
	header, err := c.tar.Next()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // without the mark of the end
	}
	return header, err
}

// Read implements io.Reader with the parts of the stream.
func (c *copyReader) Read(p []byte) (int, error) {
	for {
		if !c.inPart {
			header, err := c.header()
			if err != nil {
				c.err = doing("read the copy", err)
				return 0, c.err
			}
			if header.Name != partFile(c.streams, c.parts+1) || header.Typeflag != tar.TypeReg {
				c.next = header
				return 0, io.EOF
			}
			c.parts++
			c.inPart = true
		}
		n, err := c.tar.Read(p)
		if errors.Is(err, io.EOF) {
			c.inPart, err = false, nil
			if n == 0 {
				continue
			}
		}
		if err != nil {
			c.err = doing("read the copy", err)
		}
		return n, err
	}
}
