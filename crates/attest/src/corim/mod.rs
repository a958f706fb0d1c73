//! CoRIM: Reference Values as their providers sign them.
