package postgres

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// archive counts what is in an archive of pg_dump's custom format, which is written to it. The
// counts come from the copy itself: a query that counts rows would run functions of the tenant's
// when it is planned (those of an index's expressions, with constant arguments).
//
// The format is that of PostgreSQL's src/bin/pg_dump/pg_backup_archiver.c and pg_backup_custom.c:
// a table of contents, then a block of data for each table and each group of large objects.
type archive struct {
	w       *io.PipeWriter
	ended   chan error
	foreign map[string]bool // owners whose objects are not counted
	counts  map[string]int64
}

func newArchive(foreign []string) *archive {
	r, w := io.Pipe()
	a := &archive{w: w, ended: make(chan error, 1), foreign: map[string]bool{}, counts: map[string]int64{}}
	for _, owner := range foreign {
		a.foreign[owner] = true
	}
	for _, kind := range kinds {
		a.counts[kind] = 0
	}
	go func() {
		err := a.read(&archiveReader{Reader: bufio.NewReaderSize(r, 1<<18)})
		_ = r.CloseWithError(err) // nil: later writes fail with io.ErrClosedPipe
		a.ended <- err
	}()
	return a
}

// Write implements io.Writer.
func (a *archive) Write(p []byte) (int, error) { return a.w.Write(p) }

// close returns the counts, or why the archive is not a whole one.
func (a *archive) close() (map[string]int64, error) {
	_ = a.w.Close()
	if err := <-a.ended; err != nil {
		return nil, err
	}
	return a.counts, nil
}

// Keys of the counts.
const (
	rowCount             = "rows"
	byteCount            = "row_bytes" // of the rows as text
	largeObjectCount     = "large_objects"
	largeObjectByteCount = "large_object_bytes"
)

// kinds are the counts of the table of contents' entries, by their description there.
var kinds = map[string]string{
	"TABLE": "tables", "VIEW": "views", "MATERIALIZED VIEW": "materialized_views", "SEQUENCE": "sequences",
	"INDEX": "indexes", "CONSTRAINT": "constraints", "FK CONSTRAINT": "constraints",
	"FUNCTION": "routines", "PROCEDURE": "routines", "AGGREGATE": "routines",
	"TRIGGER": "triggers", "RULE": "rules", "POLICY": "policies", "TYPE": "types", "DOMAIN": "types",
	"EXTENSION": "extensions", "SCHEMA": "schemas", "PUBLICATION": "publications",
}

const (
	archiveMagic = "PGDMP"
	customFormat = 1
	// The versions of the format: PostgreSQL 12 to 15 write the oldest, 17 and 18 the newest.
	oldestArchive, newestArchive = 14, 16
	// byteCompression is the first one with a byte instead of an int for compression, with
	// relationKind a table's entry has its kind.
	byteCompression, relationKind = 15, 16

	dataBlock, largeObjectsBlock = 1, 3

	maxString = 1 << 30 // PostgreSQL's own limit of a value
)

// entry is an entry of the table of contents.
type entry struct {
	id          int
	hasData     bool
	description string
	owner       string
}

func (a *archive) read(r *archiveReader) error {
	version, err := r.head()
	if err != nil {
		return err
	}
	r.version = version
	var uncounted map[int]bool
	blocks, uncounted := a.contents(r)
	for r.err == nil {
		kind, err := r.ReadByte()
		if errors.Is(err, io.EOF) {
			break
		}
		id := r.int()
		blocks--
		switch {
		case err != nil:
			return err
		case kind == dataBlock:
			a.rows(r, !uncounted[id])
		case kind == largeObjectsBlock:
			a.largeObjects(r)
		default:
			return errors.New("the archive of pg_dump is damaged: it has an unknown block")
		}
	}
	if r.err == nil && blocks > 0 {
		r.err = io.ErrUnexpectedEOF
	}
	if r.err != nil {
		return fmt.Errorf("the archive of pg_dump is damaged: %w", r.err)
	}
	return nil
}

// contents reads the table of contents. It returns how many blocks follow, and which of them
// are not counted.
func (a *archive) contents(r *archiveReader) (blocks int, uncounted map[int]bool) {
	uncounted = map[int]bool{}
	for range r.int() {
		e := r.entry()
		if r.err != nil {
			return 0, nil
		}
		if e.hasData {
			blocks++
		}
		foreign := a.foreign[e.owner]
		if foreign {
			uncounted[e.id] = true
		}
		if kind, ok := kinds[e.description]; ok && !foreign {
			a.counts[kind]++
		}
	}
	return blocks, uncounted
}

// endOfRows is what pg_dump writes after the rows of a table, for psql.
const endOfRows = "\\.\n\n\n"

// rows counts a table's rows, each of which is a line of COPY's text format.
func (a *archive) rows(r *archiveReader, counted bool) {
	var rows, size int64
	var tail []byte
	r.chunks(func(chunk []byte) {
		rows += int64(bytes.Count(chunk, []byte("\n")))
		size += int64(len(chunk))
		if len(chunk) >= len(endOfRows) {
			tail = append(tail[:0], chunk[len(chunk)-len(endOfRows):]...)
			return
		}
		tail = append(tail, chunk...)
		tail = tail[max(0, len(tail)-len(endOfRows)):]
	})
	if string(tail) == endOfRows {
		rows -= int64(strings.Count(endOfRows, "\n"))
		size -= int64(len(endOfRows))
	}
	if counted {
		a.counts[rowCount] += rows
		a.counts[byteCount] += size
	}
}

func (a *archive) largeObjects(r *archiveReader) {
	for r.int() != 0 && r.err == nil { // its OID
		a.counts[largeObjectCount]++
		r.chunks(func(chunk []byte) { a.counts[largeObjectByteCount] += int64(len(chunk)) })
	}
}

// archiveReader reads the elements of an archive. After an error it reads zeros.
type archiveReader struct {
	*bufio.Reader
	version, intSize, offsetSize int
	err                          error
}

func (r *archiveReader) head() (version int, err error) {
	head := make([]byte, len(archiveMagic)+6)
	if _, err := io.ReadFull(r.Reader, head); err != nil || string(head[:len(archiveMagic)]) != archiveMagic {
		return 0, errors.New("this is not an archive of pg_dump")
	}
	major, minor, intSize, offsetSize, format := head[5], int(head[6]), int(head[8]), int(head[9]), head[10]
	if major != 1 || minor < oldestArchive || minor > newestArchive || format != customFormat || intSize < 4 || intSize > 8 || offsetSize > 8 {
		return 0, fmt.Errorf("pg_dump wrote an archive of version %d.%d, and only 1.%d to 1.%d are known: use the pg_dump of PostgreSQL 13 to 18",
			major, minor, oldestArchive, newestArchive)
	}
	r.version, r.intSize, r.offsetSize = minor, intSize, offsetSize
	if minor >= byteCompression {
		r.skip(1)
	} else {
		r.int()
	}
	for range 7 { // the time
		r.int()
	}
	for range 3 { // the database's name, and the versions of server and pg_dump
		r.string()
	}
	return minor, r.err
}

func (r *archiveReader) entry() entry {
	e := entry{id: r.int(), hasData: r.int() != 0}
	r.string() // two OIDs
	r.string()
	r.string() // the name
	e.description = r.string()
	r.int()       // section
	for range 6 { // definition, DROP, COPY, schema, tablespace, access method
		r.skipString()
	}
	if r.version >= relationKind {
		r.int()
	}
	e.owner = r.string()
	r.string()           // WITH OIDS
	for r.skipString() { // dependencies
	}
	r.skip(1 + r.offsetSize)
	return e
}

func (r *archiveReader) fail(err error) {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if r.err == nil {
		r.err = err
	}
}

// int reads a sign and the bytes of a number, the lowest first.
func (r *archiveReader) int() int {
	if r.err != nil {
		return 0
	}
	b, err := r.Peek(1 + r.intSize)
	if err != nil {
		r.fail(err)
		return 0
	}
	n := 0
	for i := r.intSize; i > 0; i-- {
		n = n<<8 | int(b[i])
	}
	if b[0] != 0 {
		n = -n
	}
	_, _ = r.Discard(1 + r.intSize)
	return n
}

func (r *archiveReader) string() string {
	n := r.length()
	if n <= 0 {
		return ""
	}
	var text strings.Builder
	if _, err := io.CopyN(&text, r.Reader, int64(n)); err != nil {
		r.fail(err)
	}
	return text.String()
}

// skipString returns false if the string is missing.
func (r *archiveReader) skipString() bool {
	n := r.length()
	r.skip(max(n, 0))
	return n >= 0 && r.err == nil
}

func (r *archiveReader) length() int {
	n := r.int()
	if n > maxString {
		r.fail(errors.New("a string is too long"))
		return -1
	}
	return n
}

func (r *archiveReader) skip(n int) {
	if r.err != nil {
		return
	}
	if _, err := r.Discard(n); err != nil {
		r.fail(err)
	}
}

// chunks calls each with the pieces of a block's data, which a length of 0 ends.
func (r *archiveReader) chunks(each func([]byte)) {
	for {
		left := r.int()
		if left <= 0 || r.err != nil {
			return
		}
		for left > 0 {
			piece, err := r.Peek(min(left, r.Size()))
			if err != nil {
				r.fail(err)
				return
			}
			each(piece)
			left -= len(piece)
			_, _ = r.Discard(len(piece))
		}
	}
}
