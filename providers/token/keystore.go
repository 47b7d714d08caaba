package token

import "time"

// A KeystoreChoice names a keystore: "os" is the OS keyring, "sealed" are
// sealed files, whose key is in a file or in a systemd credential.
type KeystoreChoice struct {
	Keystore   string `json:"keystore"`
	KeyFile    string `json:"key_file,omitempty"`
	Credential string `json:"credential,omitempty"`
	// GroupRead admits a key file that its group may read.
	GroupRead bool `json:"key_file_group_read,omitempty"`
}

// A KeystoreStatus tells of the keystore in force.
type KeystoreStatus struct {
	KeystoreChoice
	// State is "ok", "locked", or what is wrong.
	State string `json:"state"`
	// KeyID tells keys of sealed files apart.
	KeyID string `json:"key_id,omitempty"`
	// Since is when it was put in force.
	Since time.Time `json:"since"`
	// Leftovers are old copies that a migration could not delete yet.
	Leftovers int `json:"leftovers,omitempty"`
	// Moving tells of the migration under way, nil if none is.
	Moving *KeystoreMove `json:"moving,omitempty"`
}

// A KeystoreMove tells how far a migration is.
type KeystoreMove struct {
	// Doing is "copying", "verifying" or "deleting".
	Doing string `json:"doing"`
	Done  int    `json:"done"`
	Total int    `json:"total"`
}

// Migrated says what became of a migration.
type Migrated struct {
	Keystore KeystoreStatus `json:"keystore"`
	// Moved counts the secrets that moved.
	Moved int `json:"moved"`
	// NewKey tells that the key file was made for it.
	NewKey bool `json:"new_key,omitempty"`
}
