package mysql

import (
	"context"
	"database/sql"
	"encoding/json"
	"io"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database"
)

// copyHeader is the first line of a copy. Routines and triggers are here, because the texts of
// some depend on a mode of the server in which a dump cannot be split into statements.
type copyHeader struct {
	CharacterSet string       `json:"character_set"`
	Collation    string       `json:"collation"`
	Routines     []definition `json:"routines"`
	Triggers     []definition `json:"triggers"`
}

// definition is what SHOW CREATE returns of a routine or a trigger.
type definition struct {
	Mode      string `json:"mode"`      // sql_mode
	Collation string `json:"collation"` // collation_connection
	Text      string `json:"text"`
}

const (
	headerMark = "-- "
	maxHeader  = 256 << 20
)

func (h copyHeader) write(w io.Writer) error {
	line, err := json.Marshal(h)
	if err == nil && len(line) >= maxHeader {
		err = services.Rejected("the texts of routines and triggers are too large for a backup: more than %d MB", maxHeader>>20)
	}
	if err == nil {
		_, err = w.Write(append(append([]byte(headerMark), line...), '\n'))
	}
	return err
}

func (h copyHeader) count(counts map[string]int64) {
	counts[routineCount], counts[triggerCount] = int64(len(h.Routines)), int64(len(h.Triggers))
}

// readRoutines asks for the routines as the administrator: only their definer could see all of one.
func (h *copyHeader) readRoutines(ctx context.Context, s *session, name string) error {
	type routine struct{ kind, name string }
	var list []routine
	err := s.Query(ctx, call("routines", name), func(rows *sql.Rows) error {
		var r routine
		err := rows.Scan(&r.kind, &r.name)
		list = append(list, r)
		return err
	})
	for _, r := range list {
		if err == nil {
			err = s.Query(ctx, call("show_routine", name, r.kind, r.name), func(rows *sql.Rows) error {
				var d definition
				var ignored sql.RawBytes
				err := rows.Scan(&ignored, &d.Mode, &d.Text, &ignored, &d.Collation, &ignored)
				h.Routines = append(h.Routines, d)
				return err
			})
		}
	}
	return explain("ask for the routines", err)
}

// readDatabase asks for the database's defaults and its triggers, as the copier.
func (h *copyHeader) readDatabase(ctx context.Context, c *session, name string) error {
	err := c.Query(ctx, "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = "+literal(name),
		database.One(&h.CharacterSet, &h.Collation))
	var triggers []string
	if err == nil {
		err = c.Query(ctx, "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = "+literal(name)+
			" ORDER BY EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER", database.Into(&triggers))
	}
	for _, trigger := range triggers {
		if err != nil {
			break
		}
		err = c.Query(ctx, "SHOW CREATE TRIGGER "+ident(trigger), func(rows *sql.Rows) error {
			var d definition
			var ignored sql.RawBytes
			err := rows.Scan(&ignored, &d.Mode, &d.Text, &ignored, &d.Collation, &ignored, &ignored)
			h.Triggers = append(h.Triggers, d)
			return err
		})
	}
	return explain("ask for the triggers", err)
}
