//! Closed sets of words on the wire.

use serde::Serialize;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Every value.
            pub const ALL: &[$name] = &[$($name::$variant,)*];
            /// Every word, as it stands on the wire.
            pub const WORDS: &[&str] = &[$($word,)*];

            /// The word on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }

            /// The value of a word, whatever its case.
            pub fn parse(word: &str) -> Option<$name> {
                $name::ALL.iter().copied().find(|value| value.as_str().eq_ignore_ascii_case(word))
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

words! {
    /// Whether an instance wants traffic.
    Status {
        /// Takes traffic.
        Up = "UP",
        /// Takes none.
        Down = "DOWN",
        /// Not yet.
        Starting = "STARTING",
        /// Taken out, usually by an operator.
        OutOfService = "OUT_OF_SERVICE",
    }
}

words! {
    /// Whether an instance is well.
    Health {
        /// Well, or alive by its heartbeats.
        Healthy = "HEALTHY",
        /// Unwell, or its lease has run out.
        Unhealthy = "UNHEALTHY",
        /// Nobody has said.
        Unknown = "UNKNOWN",
    }
}

words! {
    /// What happened.
    EventKind {
        /// A new instance.
        InstanceRegistered = "INSTANCE_REGISTERED",
        /// An instance was registered again and is different now.
        InstanceUpdated = "INSTANCE_UPDATED",
        /// Its health changed: reported, lease run out, or heartbeats back.
        InstanceHealthChanged = "INSTANCE_HEALTH_CHANGED",
        /// An operator overrode its status, or lifted that.
        InstanceStatusChanged = "INSTANCE_STATUS_CHANGED",
        /// It was taken out of the registry by request.
        InstanceDeregistered = "INSTANCE_DEREGISTERED",
        /// It was removed because its lease ran out: contact was lost, which does not say that it died.
        InstanceExpired = "INSTANCE_EXPIRED",
        /// A service entry was made.
        ServiceCreated = "SERVICE_CREATED",
        /// A service entry was changed.
        ServiceUpdated = "SERVICE_UPDATED",
        /// A service entry was deleted.
        ServiceDeleted = "SERVICE_DELETED",
        /// Too many instances vanished at once; they are kept.
        ServiceProtected = "SERVICE_PROTECTED",
        /// The protection has ended.
        ServiceUnprotected = "SERVICE_UNPROTECTED",
        /// A group entry was made.
        GroupCreated = "GROUP_CREATED",
        /// A group entry was changed.
        GroupUpdated = "GROUP_UPDATED",
        /// A group entry was deleted.
        GroupDeleted = "GROUP_DELETED",
    }
}
