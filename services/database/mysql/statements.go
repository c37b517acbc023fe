package mysql

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// statements splits what mariadb-dump wrote into statements, and counts what they make. Restore
// does not use the client mariadb, which runs commands of this machine that a dump contains.
type statements struct {
	r *bufio.Reader
	// limit is how long a statement may be; 0: statements are only counted, not kept.
	limit  int
	counts map[string]int64
	buffer []byte
	scan   scan
}

func newStatements(r io.Reader, limit int) *statements {
	s := &statements{r: bufio.NewReaderSize(r, 1<<18), limit: limit, counts: map[string]int64{}}
	for _, kind := range append(kinds, rowCount, byteCount) {
		s.counts[kind.name] = 0
	}
	return s
}

type kind struct {
	name string
	// begins begins the statement that makes one.
	begins string
}

var (
	rowCount  = kind{name: "rows"}
	byteCount = kind{name: "row_bytes"} // of the rows as text
	kinds     = []kind{
		{"tables", "CREATE TABLE"},
		{"sequences", "CREATE SEQUENCE"},
		{"views", "/*!50001 CREATE ALGORITHM"}, // not the table that stands for it meanwhile
	}
)

const (
	routineCount = "routines"
	triggerCount = "triggers"

	// endOfCopy is the last line: without it a copy is not whole.
	endOfCopy = "-- end of the copy"
)

var errTruncated = errors.New("the copy is damaged: its end is missing")

// next returns the next statement without its semicolon, or its beginning if limit is 0. It is valid
// until the next call. At the end of the copy it returns io.EOF.
func (s *statements) next() ([]byte, error) {
	for {
		if err := s.skipSpace(); err != nil {
			return nil, errTruncated
		}
		begin, err := s.r.Peek(2)
		if err != nil {
			return nil, readError(err)
		}
		if string(begin) != "--" {
			break
		}
		line, err := s.r.ReadSlice('\n')
		if string(bytes.TrimSpace(line)) == endOfCopy {
			return nil, s.atEnd()
		}
		if err != nil {
			return nil, readError(err)
		}
	}
	statement, err := s.statement()
	if err == nil {
		s.count(statement)
	}
	return statement, err
}

// atEnd checks that nothing follows.
func (s *statements) atEnd() error {
	switch _, err := s.r.Peek(1); {
	case err == nil:
		return errors.New("the copy is damaged: it continues after its end")
	default:
		return err // io.EOF, or the reader's
	}
}

// readError makes an early end an error of the copy.
func readError(err error) error {
	if errors.Is(err, io.EOF) {
		return errTruncated
	}
	return err
}

func (s *statements) skipSpace() error {
	for {
		c, err := s.r.ReadByte()
		if err != nil {
			return readError(err)
		}
		if c != '\n' && c != ' ' && c != '\r' && c != '\t' {
			return s.r.UnreadByte()
		}
	}
}

// statement reads to a semicolon that is outside of quotes.
func (s *statements) statement() ([]byte, error) {
	s.buffer = s.buffer[:0]
	s.scan = scan{}
	for {
		if _, err := s.r.Peek(1); err != nil {
			return nil, readError(err)
		}
		piece, err := s.r.Peek(s.r.Buffered())
		if err != nil {
			return nil, readError(err)
		}
		end, found := s.scan.to(piece)
		s.keep(piece[:end])
		if found {
			_, _ = s.r.Discard(end + 1)
			return s.buffer, nil
		}
		_, _ = s.r.Discard(end)
		if s.limit > 0 && len(s.buffer) > s.limit {
			return nil, fmt.Errorf("a row of the copy needs more than the server's max_allowed_packet of %d bytes: raise it", s.limit)
		}
	}
}

// beginning is how much of a statement says what it makes.
const beginning = 64

func (s *statements) keep(piece []byte) {
	if s.limit == 0 {
		piece = piece[:min(len(piece), beginning-len(s.buffer))]
	}
	s.buffer = append(s.buffer, piece...)
}

func (s *statements) count(statement []byte) {
	if bytes.HasPrefix(statement, []byte("INSERT ")) {
		s.counts[rowCount.name] += s.scan.rows
		s.counts[byteCount.name] += s.scan.size
		return
	}
	for _, k := range kinds {
		if bytes.HasPrefix(statement, []byte(k.begins)) {
			s.counts[k.name]++
		}
	}
}

// scan reads a statement piece by piece and finds its end. In an INSERT it counts the rows, which are
// the groups in parentheses after VALUES, and their bytes.
type scan struct {
	quote      byte // 0: outside of quotes
	escaped    bool // the next byte is
	depth      int  // of parentheses
	before     int64
	began      int64 // where the row began
	rows, size int64
}

// to returns where in the piece the statement ends, or the piece's length.
func (s *scan) to(piece []byte) (end int, found bool) {
	for i := 0; i < len(piece); i++ {
		if s.quote != 0 {
			i = s.closing(piece, i)
			continue
		}
		if !special[piece[i]] {
			continue
		}
		switch c := piece[i]; c {
		case ';':
			return i, true
		case '(':
			if s.depth == 0 {
				s.began = s.before + int64(i)
			}
			s.depth++
		case ')':
			if s.depth--; s.depth == 0 {
				s.rows, s.size = s.rows+1, s.size+s.before+int64(i)-s.began+1
			}
		case 'V':
			if s.depth == 0 { // of VALUES: what came before are columns
				s.rows, s.size = 0, 0
			}
		default:
			s.quote = c
		}
	}
	s.before += int64(len(piece))
	return len(piece), false
}

// special are the bytes that matter outside of quotes.
var special = [256]bool{';': true, '(': true, ')': true, 'V': true, '\'': true, '"': true, '`': true}

// closing returns where in the piece, from i on, the quote ends, or the piece's length.
func (s *scan) closing(piece []byte, i int) int {
	end := -1 // of the next quote, from i on
	for {
		if s.escaped && i < len(piece) {
			s.escaped = false
			i++
		}
		if end < i {
			if end = bytes.IndexByte(piece[i:], s.quote); end < 0 {
				end = len(piece)
			} else {
				end += i
			}
		}
		if s.quote != '`' {
			if at := bytes.IndexByte(piece[i:end], '\\'); at >= 0 {
				s.escaped = true
				i += at + 1
				continue
			}
		}
		if end < len(piece) {
			s.quote = 0
		}
		return end
	}
}

const quotedName = "(?:`(?:[^`]|``)*`|\"(?:[^\"]|\"\")*\")"

var definer = regexp.MustCompile(`^((?:/\*M?!\d+ ?)?CREATE(?: OR REPLACE)?(?: ALGORITHM=\w+)?(?:\s*\*/\s*/\*M?!\d+)? )DEFINER=` + quotedName + "@" + quotedName + " ")

// withoutDefiner removes the account that defined a view, routine or trigger, which has no
// account on the new server. Then the definer is the account that restores.
func withoutDefiner(statement string) string {
	if !strings.Contains(statement[:min(len(statement), 200)], "DEFINER=") {
		return statement
	}
	return definer.ReplaceAllString(statement, "$1")
}
