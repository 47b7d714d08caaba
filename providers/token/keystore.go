package token

import "time"

// A KeystoreChoice names a keystore: "os" is the OS keyring, "sealed" means
// sealed files, whose key is in a file or in a systemd credential.
type KeystoreChoice struct {
	Keystore   string `json:"keystore" toml:"keystore"`
	KeyFile    string `json:"key_file,omitempty" toml:"key_file,omitempty"`
	Credential string `json:"credential,omitempty" toml:"credential,omitempty"`
	// GroupRead allows a key file that its group can read.
	GroupRead bool `json:"key_file_group_read,omitempty" toml:"key_file_group_read,omitempty"`
}

// A KeystoreStatus describes the active keystore.
type KeystoreStatus struct {
	KeystoreChoice
	// State is "ok", "locked", or what is wrong.
	State string `json:"state"`
	// KeyID identifies the key of sealed files.
	KeyID string `json:"key_id,omitempty"`
	// Since is when it became active.
	Since time.Time `json:"since"`
	// Leftovers counts old copies that a migration could not delete yet.
	Leftovers int `json:"leftovers,omitempty"`
	// Moving describes the current migration, nil if there is none.
	Moving *KeystoreMove `json:"moving,omitempty"`
}

// A KeystoreMove is the progress of a migration.
type KeystoreMove struct {
	// Doing is "copying" or "deleting".
	Doing string `json:"doing"`
	Done  int    `json:"done"`
	Total int    `json:"total"`
}

// Migrated is the result of a migration.
type Migrated struct {
	Keystore KeystoreStatus `json:"keystore"`
	// Moved counts the secrets that moved.
	Moved int `json:"moved"`
	// NewKey reports whether the migration made the key file.
	NewKey bool `json:"new_key,omitempty"`
}
