package powerdns

import (
	"context"
	"net/http"
	"slices"
	"strings"

	pdns "github.com/joeig/go-powerdns/v3"
)

// keyLists are the keys that may update a zone and those that may transfer it.
type keyLists struct{ update, transfer []string }

func (l keyLists) without(key string) keyLists {
	removed := func(k string) bool { return k == key }
	return keyLists{slices.DeleteFunc(slices.Clone(l.update), removed), slices.DeleteFunc(slices.Clone(l.transfer), removed)}
}

// rights are a zone's lists, and whether it accepts updates at all.
type rights struct {
	keyLists
	open bool
	// intended is what an interrupted change was about to write; nil: none was interrupted.
	intended *intention
}

// intention is recorded with a zone while its lists change. On an SQL database PowerDNS writes a list
// entry by entry: a crash in between would lose the keys of other bindings.
type intention struct {
	keyLists
	open bool // the zone accepted updates before the change
}

func union(a, b []string) []string {
	all := slices.Clone(a)
	for _, key := range b {
		if !slices.Contains(all, key) {
			all = append(all, key)
		}
	}
	return all
}

// intentionKind is a kind of metadata that has no meaning to the server.
const intentionKind pdns.MetadataKind = "X-CHANDLER-KEYS"

// The entries of an intention. One without the last entry was interrupted itself: the lists were not
// touched yet.
const (
	mayUpdate   = "update "
	mayTransfer = "transfer "
	wasOpen     = "open"
	isComplete  = "complete"
)

func (i intention) entries() []string {
	var all []string
	for _, key := range i.update {
		all = append(all, mayUpdate+key)
	}
	for _, key := range i.transfer {
		all = append(all, mayTransfer+key)
	}
	if i.open {
		all = append(all, wasOpen)
	}
	return append(all, isComplete)
}

func readIntention(entries []string) *intention {
	if !slices.Contains(entries, isComplete) {
		return nil
	}
	i := &intention{open: slices.Contains(entries, wasOpen)}
	for _, e := range entries {
		if key, ok := strings.CutPrefix(e, mayUpdate); ok {
			i.update = append(i.update, key)
		}
		if key, ok := strings.CutPrefix(e, mayTransfer); ok {
			i.transfer = append(i.transfer, key)
		}
	}
	return i
}

// rights reads a zone's rights, and first ends a change of them that was interrupted. A key that the
// change was about to remove may stay: its Unbind, which failed, is repeated.
func (b *backend) rights(ctx context.Context, zone string) (rights, error) {
	r, err := b.readRights(ctx, zone)
	if err != nil || r.intended == nil {
		return r, err
	}
	whole := rights{keyLists: keyLists{union(r.update, r.intended.update), union(r.transfer, r.intended.transfer)}, open: r.intended.open}
	if err := b.writeLists(ctx, zone, r.keyLists, whole.keyLists); err != nil {
		return rights{}, err
	}
	return whole, b.endChange(ctx, zone, whole.open)
}

func (b *backend) readRights(ctx context.Context, zone string) (rights, error) {
	all, err := b.api.Metadata.List(ctx, zone)
	if err != nil {
		return rights{}, explain("read the zone's keys", err)
	}
	var r rights
	for _, m := range all {
		switch {
		case m.Kind == nil:
		case *m.Kind == pdns.MetadataTSIGAllowDNSUpdate:
			r.update = append(r.update, canonicalKeys(m.Metadata)...)
		case *m.Kind == pdns.MetadataTSIGAllowAXFR:
			r.transfer = append(r.transfer, canonicalKeys(m.Metadata)...)
		case *m.Kind == pdns.MetadataAllowDNSUpdateFrom:
			r.open = len(m.Metadata) > 0
		case *m.Kind == intentionKind:
			r.intended = readIntention(m.Metadata)
		}
	}
	return r, nil
}

func canonicalKeys(names []string) []string {
	var keys []string
	for _, name := range names {
		keys = append(keys, canonicalKey(name))
	}
	return keys
}

// setLists writes the lists that change. If the server writes them entry by entry, they are recorded
// first, and the zone is closed meanwhile: an empty list would let everybody update it.
func (b *backend) setLists(ctx context.Context, zone string, was rights, is keyLists) error {
	if sameKeys(was.update, is.update) && sameKeys(was.transfer, is.transfer) {
		return nil
	}
	whole, err := b.writesWhole(ctx)
	if err != nil {
		return err
	}
	if whole {
		return b.writeLists(ctx, zone, was.keyLists, is)
	}
	if _, err := b.api.Metadata.Set(ctx, zone, intentionKind, intention{is, was.open}.entries()); err != nil {
		return explain("record a change of the zone's keys", err)
	}
	closed := was.open && !sameKeys(was.update, is.update)
	if closed {
		if err := b.closeZone(ctx, zone); err != nil {
			return err
		}
	}
	if err := b.writeLists(ctx, zone, was.keyLists, is); err != nil {
		return err
	}
	return b.endChange(ctx, zone, closed)
}

// endChange removes the record of a change, after the zone is open again.
func (b *backend) endChange(ctx context.Context, zone string, open bool) error {
	if open {
		if err := b.allowUpdates(ctx, zone); err != nil {
			return err
		}
	}
	return explain("end a change of the zone's keys", unlessAbsent(b.api.Metadata.Delete(ctx, zone, intentionKind)))
}

// closeZone refuses all updates of the zone.
func (b *backend) closeZone(ctx context.Context, zone string) error {
	return explain("refuse updates of the zone", unlessAbsent(b.api.Metadata.Delete(ctx, zone, pdns.MetadataAllowDNSUpdateFrom)))
}

// writesWhole reports whether the server writes a list in one transaction, as LMDB does.
func (b *backend) writesWhole(ctx context.Context) (bool, error) {
	settings, err := b.settings(ctx)
	if err != nil {
		return false, err
	}
	storages := strings.FieldsFunc(settings["launch"], func(r rune) bool { return strings.ContainsRune(" ,;\t", r) })
	other := func(s string) bool { return s != "lmdb" && !strings.HasPrefix(s, "lmdb:") }
	return len(storages) > 0 && !slices.ContainsFunc(storages, other), nil
}

func (b *backend) writeLists(ctx context.Context, zone string, was, is keyLists) error {
	if !sameKeys(was.update, is.update) {
		if err := b.setUpdaters(ctx, zone, is.update); err != nil {
			return err
		}
	}
	if sameKeys(was.transfer, is.transfer) {
		return nil
	}
	err := b.api.setTransfer(ctx, zone, is.transfer)
	if answered(err) == http.StatusUnprocessableEntity { // the server refuses lists with deleted keys
		existing, listErr := b.keys(ctx)
		if listErr != nil {
			return listErr
		}
		err = b.api.setTransfer(ctx, zone, slices.DeleteFunc(is.transfer, func(key string) bool { return !slices.Contains(existing, key) }))
	}
	return explain("set the keys that may transfer the zone", err)
}

// setUpdaters sets the keys that may update the zone; without any, everybody may.
func (b *backend) setUpdaters(ctx context.Context, zone string, keys []string) error {
	_, err := b.api.Metadata.Set(ctx, zone, pdns.MetadataTSIGAllowDNSUpdate, keys)
	return explain("set the keys that may update the zone", err)
}

func sameKeys(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
